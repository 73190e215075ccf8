/**
 * The Redis broker: kombu's layout, so that Python shares the queues, with atomic batched pops, leases and a delay store
 * of our own (DESIGN: "Redis delivery"). This file only puts the parts together.
 * Next stops: `publish.ts` for messages going in, `consume.ts` for those coming out.
 */
import type { RedisReply } from '../../clients/redis.js';
import { loadLibrary, redisErrorCode } from '../../clients/redis-library.js';
import { parseRedisUrl } from '../../clients/redis-url.js';
import { BrokerError } from '../../core/errors.js';
import type { ReplyAddress } from '../../wire/control-message.js';
import type { WireMessage } from '../../wire/message.js';
import type {
  Binding,
  Broadcast,
  Broker,
  BrokerCapabilities,
  BrokerOptions,
  ConsumeOptions,
  Consumer,
  Inbox,
  OutgoingMessage,
  Peeked,
  PublishOptions,
  PublishResult,
  QueueDepth,
  Subscription,
} from '../broker.js';
import type { DeadLetters } from '../dead-letters.js';
import { KeyedDeadLetters } from '../keyed-dead-letters.js';
import type { Pauses } from '../pauses.js';
import type { Revocations } from '../revocations.js';
import { publishApart } from '../send-once.js';
import { WalkedMessages } from '../waiting.js';
import { listQueues, peekQueue, purgeQueue, queueDepth } from './admin.js';
import { addListener, sendBroadcast } from './broadcast.js';
import { RedisLinks } from './connection.js';
import { RedisConsumer } from './consume.js';
import { redisDeadStore } from './dead-letters.js';
import { openRedisInbox, type RedisInbox, sendRedisReply } from './inbox.js';
import { bindingKey, checkQueueName, queueBinding, readBinding } from './keys.js';
import { redisPauses } from './pauses.js';
import { RedisPublisher } from './publish.js';
import { RedisOncePublisher } from './publish-once.js';
import { redisRevocations } from './revocations.js';
import { redisWalk } from './waiting.js';

const CAPABILITIES: BrokerCapabilities = {
  shared: true,
  durable: true,
  delayedPublish: true,
  priorities: true,
  peek: true,
  countsLosses: true,
  recordsRevocations: true,
  withdraws: true,
  dedupe: true,
  celery: true,
  queueDeclarations: 'Redis has lists, not queues with limits: a queue is its name, and messages go to it by that',
  countsListeners: true,
};

const NO_CELERY =
  'Celery cannot use a Redis Cluster as its broker: its transport has keys on several nodes and no way to follow them';

/** For commands that people run, when the broker is away. */
const REACH_MS = 5_000;
/** What close() gives its consumers for handing back. */
const CLOSE_MS = 5_000;

/** Opens the Redis broker of this URL; connects at the first use. @throws ConfigError `E_CONFIG_URL`, `E_DRIVER_MISSING` */
export async function openRedisBroker(options: BrokerOptions): Promise<Broker> {
  // Now, and not at the first command: a missing package is no outage that a deadline should wait out.
  await loadLibrary();
  return new RedisBroker(options);
}

/** Ends a broker as `kill -9` of its process would: nothing is handed back, renewed or connected again. For tests and drills. */
export async function crashRedisBroker(broker: Broker): Promise<void> {
  if (!(broker instanceof RedisBroker)) throw new TypeError('crashRedisBroker() takes a broker that openRedisBroker() opened');
  await broker.crash();
}

class RedisBroker implements Broker {
  readonly name = 'redis';
  readonly capabilities: BrokerCapabilities;
  readonly deadLetters: DeadLetters;
  readonly revocations: Revocations;
  readonly pauses: Pauses;
  readonly waiting: WalkedMessages;
  readonly #links: RedisLinks;
  readonly #publisher: RedisPublisher;
  readonly #once: RedisOncePublisher;
  readonly #consumers = new Set<RedisConsumer>();
  readonly #inboxes = new Set<RedisInbox>();
  #closing: Promise<void> | null = null;

  constructor(options: BrokerOptions) {
    const target = parseRedisUrl(options.url);
    this.capabilities = target.cluster ? { ...CAPABILITIES, celery: NO_CELERY } : CAPABILITIES;
    this.#links = new RedisLinks(target, options.logger, options.queues);
    this.#publisher = new RedisPublisher(this.#links);
    this.#once = new RedisOncePublisher(this.#links);
    this.deadLetters = new KeyedDeadLetters(redisDeadStore(this.#links, () => this.#assertOpen()));
    this.revocations = redisRevocations(this.#links, () => this.#assertOpen());
    this.pauses = redisPauses(this.#links, () => this.#assertOpen());
    this.waiting = new WalkedMessages(redisWalk(this.#links, () => this.#assertOpen()));
  }

  async connect(options: { readonly timeoutMs: number }): Promise<void> {
    this.#assertOpen();
    await this.#links.commands.whenReady(options.timeoutMs);
  }

  async publish(messages: readonly OutgoingMessage[], options: PublishOptions): Promise<readonly PublishResult[]> {
    this.#assertOpen();
    return publishApart(
      messages,
      options,
      (plain) => this.#publisher.publish(plain, options),
      (keyed) => this.#once.publish(keyed, options),
    );
  }

  async consume(options: ConsumeOptions): Promise<Consumer> {
    this.#assertOpen();
    const consumer: RedisConsumer = new RedisConsumer(this.#links, options, () => this.#consumers.delete(consumer));
    this.#consumers.add(consumer);
    return consumer;
  }

  async declare(queue: string): Promise<void> {
    checkQueueName(queue);
    const [key, member] = queueBinding(this.#links.keys.prefix, queue, this.#links.queues);
    await this.#reach();
    try {
      await this.#links.commands.call('sadd', [key, member]);
    } catch (error) {
      // A worker must start on a full server too, for who else frees its memory? Each sender writes the binding as well.
      if (redisErrorCode(error) !== 'OOM') throw error;
    }
  }

  async bindings(exchange: string): Promise<readonly Binding[]> {
    await this.#reach();
    const members = (await this.#links.commands.call('smembers', [
      bindingKey(this.#links.keys.prefix, exchange),
    ])) as RedisReply[];
    return members.flatMap((member) => readBinding(String(member)) ?? []);
  }

  async queues(): Promise<readonly string[]> {
    await this.#reach();
    return listQueues(this.#links.commands, this.#links.keys);
  }

  async depth(queues: readonly string[]): Promise<readonly QueueDepth[]> {
    await this.#reach();
    return Promise.all(queues.map((queue) => queueDepth(this.#links.commands, this.#links.keys, queue)));
  }

  async peek(queue: string, limit: number): Promise<readonly Peeked[]> {
    await this.#reach();
    return peekQueue(this.#links.commands, this.#links.keys, queue, limit);
  }

  async purge(queue: string, onProgress?: (removed: number) => void): Promise<number> {
    await this.#reach();
    return purgeQueue(this.#links.commands, this.#links.keys, queue, onProgress);
  }

  async broadcast(broadcast: Broadcast): Promise<number> {
    this.#assertOpen();
    return sendBroadcast(this.#links, broadcast);
  }

  async listen(exchange: string, pattern: string, onBroadcast: (broadcast: Broadcast) => void): Promise<Subscription> {
    this.#assertOpen();
    return addListener(this.#links, exchange, pattern, onBroadcast);
  }

  async openInbox(exchange: string, onReply: (message: WireMessage) => void): Promise<Inbox> {
    this.#assertOpen();
    const inbox: RedisInbox = await openRedisInbox(this.#links, exchange, onReply, () => this.#inboxes.delete(inbox));
    this.#inboxes.add(inbox);
    return inbox;
  }

  async sendReply(to: ReplyAddress, message: WireMessage): Promise<void> {
    this.#assertOpen();
    return sendRedisReply(this.#links, to, message);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  crash(): Promise<void> {
    this.#closing ??= this.#crash();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#inboxes].map((inbox) => inbox.close()));
    await Promise.all([...this.#consumers].map((consumer) => consumer.close({ timeoutMs: CLOSE_MS })));
    this.#publisher.close();
    this.#once.close();
    await this.#links.close();
  }

  async #crash(): Promise<void> {
    const closed = this.#links.close();
    await Promise.all([...this.#inboxes].map((inbox) => inbox.crash()));
    await Promise.all([...this.#consumers].map((consumer) => consumer.close({ timeoutMs: 0 })));
    this.#publisher.close();
    this.#once.close();
    await closed;
  }

  async #reach(): Promise<void> {
    this.#assertOpen();
    await this.#links.commands.whenReady(REACH_MS);
  }

  #assertOpen(): void {
    if (this.#closing) throw new BrokerError('E_CLOSED', 'the Redis broker was used after close()');
  }
}
