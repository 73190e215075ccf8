/**
 * Reads a queue from its head in steps, and keeps what it has read unacknowledged until it is closed: then the broker puts
 * everything back that was not acknowledged.
 *
 * By subscription, not one `basic.get` after the other: of messages that have been given back before, RabbitMQ 3.10 hands
 * out some hundred a second by get, and more than ten thousand to a subscriber. A subscription's prefetch counts what is
 * unacknowledged, and that is all that was read: so each step adds a subscription for as many as it wants more.
 */
import type { Channel, Message } from '../../clients/amqp.js';

/** How many letters, or how much of them, the broker may have on the way to us. */
const STEP_LETTERS = 250;
const STEP_BYTES = 8 * 1_048_576;
/** Before anything is known of their size. */
const FIRST_STEP = 8;
/** Nothing has come for so long: ask whether there is anything. */
const ASK_AFTER_MS = 500;

export class DeadReader {
  readonly #channel: Channel;
  readonly #queue: string;
  #arrived: Message[] = [];
  /** Of the subscriptions; one a step. */
  readonly #tags: string[] = [];
  #onArrival: () => void = () => undefined;
  #failure: Error | null = null;
  /** The sum of all prefetch, and how much of it is used; what came by get uses none. */
  #capacity = 0;
  #unacked = 0;
  /** How many of those that were there at the start are still to come. */
  #left = 0;
  #seen = 0;
  #seenBytes = 0;

  constructor(channel: Channel, queue: string) {
    this.#channel = channel;
    this.#queue = queue;
    channel.on('close', () => this.#fail(new Error('channel closed')));
  }

  /**
   * The oldest message alone; empty if there is none. It tells how many are behind it. To ask the queue for its length
   * would not do: that question overtakes what somebody has just given back.
   */
  async first(): Promise<readonly Message[]> {
    const message = await this.#get();
    if (message === null) return [];
    this.#left = message.fields.messageCount ?? 0;
    return [message];
  }

  /** The next messages, in order; empty once all have been read that were there at the start. */
  async next(): Promise<readonly Message[]> {
    const wanted = Math.min(this.#left, this.#step());
    if (wanted === 0) return [];
    const free = this.#capacity - this.#unacked;
    if (free < wanted) await this.#subscribe(wanted - free);
    while (this.#arrived.length < wanted) {
      if (this.#failure) throw this.#failure;
      if (await this.#arrival()) continue;
      // Fewer than there were: somebody else takes from this queue, or its messages expire.
      const message = await this.#get();
      if (message) this.#arrived.push(message);
      else if (this.#arrived.length === 0) return [];
      else break;
    }
    // What has come beyond was parked since the start: it is not meant, and goes back at the end.
    const taken = this.#arrived.splice(0, wanted);
    this.#left -= taken.length;
    return taken;
  }

  ack(message: Message): void {
    this.#channel.ack(message);
    if (isSubscribed(message)) this.#unacked -= 1;
  }

  /** How many are still to come. */
  get left(): number {
    return this.#left;
  }

  /** Acknowledges all that was read so far, in one frame. Of single ones a quorum queue may lose those that its channel had not passed on when it closed. */
  ackThrough(message: Message): void {
    this.#channel.ack(message, true);
    this.#unacked = this.#arrived.filter(isSubscribed).length;
  }

  /** Nothing more comes. Resolves with what has come and was not read. */
  async stop(): Promise<readonly Message[]> {
    await Promise.all(this.#tags.splice(0).map((tag) => this.#channel.cancel(tag)));
    return this.#arrived.splice(0);
  }

  /** Everything that was not acknowledged is back in its place when this resolves. */
  async close(): Promise<void> {
    await this.#channel.close();
  }

  #step(): number {
    if (this.#seen < FIRST_STEP) return FIRST_STEP;
    return Math.max(1, Math.min(STEP_LETTERS, Math.floor((STEP_BYTES * this.#seen) / (this.#seenBytes + 1))));
  }

  async #subscribe(prefetch: number): Promise<void> {
    this.#capacity += prefetch;
    const onMessage = (message: Message | null): void => {
      if (message === null) return this.#fail(new Error(`queue ${this.#queue} was deleted`));
      this.#note(message);
      this.#arrived.push(message);
      this.#onArrival();
    };
    // Two frames one after the other: the limit is that of the subscription made after it.
    const [, { consumerTag }] = await Promise.all([
      this.#channel.prefetch(prefetch, false),
      this.#channel.consume(this.#queue, onMessage, { noAck: false }),
    ]);
    this.#tags.push(consumerTag);
  }

  async #get(): Promise<(Message & { readonly fields: { readonly messageCount?: number } }) | null> {
    const message = await this.#channel.get(this.#queue, { noAck: false });
    if (message === false) return null;
    this.#note(message);
    return message;
  }

  #note(message: Message): void {
    if (isSubscribed(message)) this.#unacked += 1;
    this.#seen += 1;
    this.#seenBytes += message.content.length;
  }

  /** Whether something came, before the time was over. */
  #arrival(): Promise<boolean> {
    return new Promise((resolve) => {
      const end = (came: boolean): void => {
        clearTimeout(timer);
        this.#onArrival = () => undefined;
        resolve(came);
      };
      const timer = setTimeout(() => end(false), ASK_AFTER_MS);
      this.#onArrival = () => end(true);
    });
  }

  #fail(failure: Error): void {
    this.#failure ??= failure;
    this.#onArrival();
  }
}

const isSubscribed = ({ fields }: Message): boolean => 'consumerTag' in fields;
