/**
 * The queue that answers come to: declared and consumed by its owner alone, again after every reconnect under the same name.
 *
 * Celery's releases make it transient and auto-delete, so a client whose connection breaks for a moment loses the answers of that
 * moment. Workers never declare it, so its form is ours: it outlives a broken connection for ten minutes, and `close()` deletes it.
 */
import { randomUUID } from 'node:crypto';
import type { AmqpLink, Channel, ChannelModel, ConsumeMessage } from '../../clients/amqp.js';
import { closeChannel } from '../../clients/within.js';
import { reconnectDelayMs } from '../../core/backoff.js';
import { BrokerError, toError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';

const ARGUMENTS = { 'x-expires': 600_000, 'x-message-ttl': 86_400_000, 'x-max-length': 100_000 } as const;
const PREFETCH = 1_000;
const GOODBYE_MS = 2_000;

/** One life of the channel, and what is to be acknowledged on it. */
interface Session {
  readonly channel: Channel;
  readonly model: ChannelModel;
  acking: boolean;
  lastTag: number;
}

export class ReplyQueue {
  readonly name = `lovage.reply.${randomUUID()}`;
  readonly #link: AmqpLink;
  readonly #logger: Logger;
  readonly #onReply: (correlationId: string, body: string) => void;
  readonly #stopListening: () => void;
  #ready!: Promise<void>;
  #isReady = false;
  #resolve: () => void = () => undefined;
  #reject: (error: Error) => void = () => undefined;
  #channel: Channel | undefined;
  #timer: NodeJS.Timeout | undefined;
  #tries = 0;
  #closed = false;

  constructor(link: AmqpLink, logger: Logger, onReply: (correlationId: string, body: string) => void) {
    this.#link = link;
    this.#logger = logger;
    this.#onReply = onReply;
    this.#renew();
    this.#stopListening = link.listen({
      onUp: (model) => {
        this.#tries = 0;
        void this.#build(model);
      },
      onDown: () => {
        this.#channel = undefined;
        clearTimeout(this.#timer);
        this.#gone();
      },
    });
  }

  /** Resolves once the queue stands and is consumed. @throws BrokerError `E_BROKER_UNREACHABLE`, `E_BROKER_AUTH`, `E_CLOSED` */
  async ready(timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    await this.#link.connected(timeoutMs);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const error = new BrokerError('E_CONNECTION_LOST', `the reply queue could not be made within ${timeoutMs} ms`);
      timer = setTimeout(() => reject(error), Math.max(deadline - performance.now(), 1));
    });
    try {
      await Promise.race([this.#ready, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Deletes the queue, if the broker can be reached. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#stopListening();
    this.#reject(new BrokerError('E_CLOSED', 'the rpc result store was closed'));
    const channel = this.#channel;
    this.#channel = undefined;
    if (!channel) return;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, GOODBYE_MS)));
    // Unreachable or gone already: its expiry does the rest.
    await Promise.race([
      late,
      channel
        .deleteQueue(this.name)
        .then(() => channel.close())
        .catch(() => undefined),
    ]);
    clearTimeout(timer);
  }

  /** The next node in the URL has never heard of the queue: what is sent from now on waits until it stands there. */
  #gone(): void {
    if (this.#isReady && !this.#closed) this.#renew();
  }

  #renew(): void {
    this.#isReady = false;
    this.#ready = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#ready.catch(() => undefined);
  }

  async #build(model: ChannelModel): Promise<void> {
    let channel: Channel | undefined;
    try {
      channel = await model.createChannel();
      let cause: Error | undefined;
      channel.on('error', (error: Error) => (cause = error));
      channel.on('close', () => {
        if (this.#channel !== channel) return;
        this.#channel = undefined;
        this.#gone();
        this.#retry(model, cause ?? new Error('channel closed'));
      });
      await channel.assertQueue(this.name, { durable: true, autoDelete: false, arguments: ARGUMENTS });
      await channel.prefetch(PREFETCH, false);
      const current: Session = { channel, model, acking: false, lastTag: 0 };
      await channel.consume(this.name, (message) => this.#receive(current, message), { noAck: false });
      if (this.#closed) return void channel.close().catch(() => undefined);
      this.#channel = channel;
      this.#isReady = true;
      this.#resolve();
    } catch (error) {
      const cause = toError(error);
      this.#logger.warn({ queue: this.name, error: cause.message }, 'the reply queue could not be made');
      // Whoever waits is told why; the next one waits for the next try.
      this.#reject(new BrokerError('E_CONNECTION_LOST', `the reply queue could not be made: ${cause.message}`, { cause }));
      if (!this.#closed) this.#renew();
      await closeChannel(channel);
      this.#retry(model, cause);
    }
  }

  #retry(model: ChannelModel, cause: Error): void {
    if (this.#closed || this.#link.model !== model) return;
    this.#logger.debug({ queue: this.name, error: cause.message }, 'making the reply queue again');
    clearTimeout(this.#timer);
    this.#timer = setTimeout(
      () => void (this.#link.model === model && !this.#closed && this.#build(model)),
      reconnectDelayMs(this.#tries, Math.random()),
    );
    this.#tries += 1;
  }

  #receive(session: Session, message: ConsumeMessage | null): void {
    const { channel, model } = session;
    if (message === null) {
      this.#channel = undefined;
      void Promise.resolve()
        .then(() => channel.close())
        .catch(() => undefined);
      return this.#retry(model, new Error('the broker cancelled the subscription'));
    }
    const correlationId: unknown = message.properties.correlationId;
    if (typeof correlationId === 'string') this.#onReply(correlationId, message.content.toString('utf8'));
    session.lastTag = message.fields.deliveryTag;
    if (session.acking) return;
    session.acking = true;
    // One acknowledgement for everything of this turn: a reply that was handed over is done with.
    setImmediate(() => {
      session.acking = false;
      try {
        channel.ack({ fields: { deliveryTag: session.lastTag } } as ConsumeMessage, true);
      } catch {
        // The channel has gone: these come once more, and a final result is not replaced.
      }
    });
  }
}
