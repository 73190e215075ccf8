/**
 * Hearing broadcasts (control requests, events) and replies. Each listener has a channel and a queue of its own, which vanish
 * with the connection and are made again after it; what was sent in between is missed, as broadcasts are.
 */
import { randomUUID } from 'node:crypto';
import { type AmqpLink, type Channel, type ChannelModel, type ConsumeMessage, retryDelayMs } from '../../clients/amqp.js';
import { closeChannel } from '../../clients/within.js';
import { toError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { replyQueueOn } from '../../wire/control-message.js';
import type { WireMessage } from '../../wire/message.js';
import { type Broadcast, INBOX_LIMITS, type Inbox, type Subscription } from '../broker.js';
import { decode } from './codec.js';
import type { BroadcastKind } from './topology.js';

/** As Celery's queues for the same purpose, plus a cap: a listener that hangs must not fill the broker. */
const QUEUE_ARGUMENTS = { 'x-expires': 60_000, 'x-message-ttl': 60_000, 'x-max-length': 10_000 } as const;
/** Without `exclusive`, and under a name that stays: replies find it again after its connection was lost. */
const INBOX_ARGUMENTS = {
  'x-expires': INBOX_LIMITS.ttlMs,
  'x-message-ttl': INBOX_LIMITS.ttlMs,
  'x-max-length': INBOX_LIMITS.messages,
  'x-max-length-bytes': INBOX_LIMITS.bytes,
} as const;
const STARTED_MS = 10_000;

/** Makes one's own queue, binds it, and returns its name. */
type Declare = (channel: Channel) => Promise<string>;

/** Listens until closed; resolves once the first subscription stands, or rejects if the broker refuses it. */
export async function listen(
  link: AmqpLink,
  logger: Logger,
  exchange: string,
  { type, durable }: BroadcastKind,
  pattern: string,
  onBroadcast: (broadcast: Broadcast) => void,
): Promise<Subscription> {
  return begin(
    new Listener(link, logger, exchange, onBroadcast, async (channel) => {
      await channel.assertExchange(exchange, type, { durable });
      const name = `${randomUUID()}.${exchange}.lovage`;
      await channel.assertQueue(name, { durable: false, exclusive: true, autoDelete: true, arguments: QUEUE_ARGUMENTS });
      await channel.bindQueue(name, exchange, type === 'fanout' ? '' : pattern);
      return name;
    }),
  );
}

/** Opens an inbox: named and bound as Celery's are (wire section 5.1), so that Python workers write into it. */
export async function openInbox(
  link: AmqpLink,
  logger: Logger,
  exchange: string,
  onReply: (message: WireMessage) => void,
): Promise<Inbox> {
  const routingKey = randomUUID();
  const name = replyQueueOn(exchange, routingKey);
  const listener = await begin(
    new Listener(
      link,
      logger,
      exchange,
      ({ message }) => onReply(message),
      async (channel) => {
        await channel.assertExchange(exchange, 'direct', { durable: false });
        await channel.assertQueue(name, { durable: false, autoDelete: true, arguments: INBOX_ARGUMENTS });
        await channel.bindQueue(name, exchange, routingKey);
        return name;
      },
    ),
  );
  return { address: { exchange, routingKey }, close: () => listener.close() };
}

async function begin(listener: Listener): Promise<Listener> {
  try {
    await listener.first;
  } catch (error) {
    await listener.close();
    throw error;
  }
  return listener;
}

class Listener implements Subscription {
  readonly first: Promise<void>;
  readonly #link: AmqpLink;
  readonly #logger: Logger;
  readonly #exchange: string;
  readonly #declare: Declare;
  readonly #onBroadcast: (broadcast: Broadcast) => void;
  readonly #stopListening: () => void;
  #channel: Channel | undefined;
  #timer: NodeJS.Timeout | undefined;
  #tries = 0;
  #closed = false;
  #ready: () => void = () => undefined;
  #failed: (error: Error) => void = () => undefined;

  constructor(link: AmqpLink, logger: Logger, exchange: string, onBroadcast: (broadcast: Broadcast) => void, declare: Declare) {
    this.#link = link;
    this.#logger = logger;
    this.#exchange = exchange;
    this.#declare = declare;
    this.#onBroadcast = onBroadcast;
    this.first = new Promise((resolve, reject) => {
      this.#ready = resolve;
      this.#failed = reject;
    });
    this.first.catch(() => undefined);
    link.connected(STARTED_MS).catch(this.#failed);
    this.#stopListening = link.listen({
      onUp: (model) => {
        this.#tries = 0;
        void this.#build(model);
      },
      onDown: () => {
        this.#channel = undefined;
        clearTimeout(this.#timer);
      },
    });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#stopListening();
    const channel = this.#channel;
    this.#channel = undefined;
    // With the subscription the queue goes: it is auto-delete.
    await closeChannel(channel);
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
        this.#retry(model, cause ?? new Error('channel closed'));
      });
      const name = await this.#declare(channel);
      await channel.consume(name, (message) => this.#receive(message, channel, model), { noAck: true });
      if (this.#closed) return void closeChannel(channel);
      this.#channel = channel;
      this.#ready();
    } catch (error) {
      this.#failed(toError(error));
      await closeChannel(channel);
      this.#retry(model, toError(error));
    }
  }

  #retry(model: ChannelModel, cause: Error): void {
    if (this.#closed || this.#link.model !== model) return;
    this.#logger.warn({ exchange: this.#exchange, error: cause.message }, 'listening broke, trying again');
    clearTimeout(this.#timer);
    this.#timer = setTimeout(
      () => void (this.#link.model === model && !this.#closed && this.#build(model)),
      retryDelayMs(this.#tries),
    );
    this.#tries += 1;
  }

  #receive(received: ConsumeMessage | null, channel: Channel | undefined, model: ChannelModel): void {
    if (received === null) {
      // The queue was deleted under us.
      this.#channel = undefined;
      void closeChannel(channel);
      return this.#retry(model, new Error('the broker cancelled the subscription'));
    }
    const decoded = decode(received);
    if (!('message' in decoded)) return; // not a Celery message: nobody can answer it
    try {
      this.#onBroadcast({ exchange: received.fields.exchange, routingKey: received.fields.routingKey, message: decoded.message });
    } catch (error) {
      this.#logger.error({ exchange: this.#exchange, err: toError(error) }, 'a broadcast listener threw');
    }
  }
}
