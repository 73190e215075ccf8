/**
 * The memory broker: `memory:` (one instance for the process) and `memory:NAME`, shared by everybody in this process
 * who opens the same name and forgotten when the last of them closes. For tests, and the reference for other drivers.
 */
import { randomUUID } from 'node:crypto';
import { ProcessShared, type SharedUse } from '../../clients/process-shared.js';
import { BrokerError, ConfigError, PublishError } from '../../core/errors.js';
import { sharedTimedSet } from '../../core/timed-set.js';
import type { ReplyAddress } from '../../wire/control-message.js';
import type { WireMessage } from '../../wire/message.js';
import type {
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
import { topicMatcher } from '../topic-pattern.js';
import { WalkedMessages } from '../waiting.js';
import { MemoryConsumer } from './consumer.js';
import { memoryDeadStore } from './dead-letters.js';
import { memoryPauses } from './pauses.js';
import { type Listener, MemorySpace, type MemorySpaceOptions, type ParkedEntry } from './space.js';
import { memoryWalk } from './waiting.js';

export type { MemoryLimits, MemorySpaceOptions, ParkedEntry } from './space.js';

const SPACES = new ProcessShared<MemorySpace>((space) => space.dispose());
const PURGE_STEP = 1_000;

const CAPABILITIES: BrokerCapabilities = {
  shared: 'the memory broker lives in one process: use file:PATH for several on one machine',
  durable: 'the memory broker forgets everything when its process ends',
  delayedPublish: true,
  priorities: true,
  peek: true,
  countsLosses: true,
  recordsRevocations: true,
  withdraws: true,
  dedupe: true,
  celery: 'the memory broker lives in one process: Python cannot reach it',
  queueDeclarations: 'a queue in memory is its name and nothing more: messages go to it by that',
  countsListeners: true,
};

/** Opens the memory broker of this URL. @throws ConfigError `E_CONFIG_URL` */
export async function openMemoryBroker(options: BrokerOptions): Promise<Broker> {
  return new MemoryBroker(SPACES.use(spaceName(options.url), () => new MemorySpace()));
}

/** A hold on the shared state behind a memory URL: gives it a clock and limits, and lets tests look and meddle. */
export interface MemorySpaceHandle {
  /** What was parked, oldest first. */
  dead(): readonly ParkedEntry[];
  /** Puts bytes into a queue that are no message. */
  putRaw(queue: string, bytes: Uint8Array): void;
  /** Ends the lease of every delivery that is out; their holders live and hear of it. */
  loseDeliveries(): void;
  /** Removes the dead letters and tells how many they were. */
  clearDead(): number;
  release(): void;
}

/**
 * Holds the shared state of a memory URL open. With `options` it must be the first user of the name, because a clock or
 * a limit cannot change under messages that are there already.
 * @throws ConfigError `E_CONFIG_URL`, `E_CONFIG_CONFLICT`
 */
export function holdMemorySpace(url: string, options?: MemorySpaceOptions): MemorySpaceHandle {
  const name = spaceName(url);
  if (options && SPACES.peek(name)) {
    throw new ConfigError(
      'E_CONFIG_CONFLICT',
      `memory broker '${name}' is open already: give it its clock and limits before anything opens it`,
    );
  }
  const { value: space, release } = SPACES.use(name, () => new MemorySpace(options));
  return {
    dead: () => [...space.dead.values()],
    putRaw(queue, bytes) {
      space.queue(queue).pushBack({ message: null, raw: bytes.slice(), priority: 0, redelivered: false, losses: 0 });
      space.schedulePump();
    },
    loseDeliveries() {
      for (const consumer of [...space.consumers]) consumer.loseAll();
    },
    clearDead: () => {
      const count = space.dead.size;
      space.dead.clear();
      return count;
    },
    release,
  };
}

/** How many memory brokers this process has by name; for tests of leaks. */
export function openMemorySpaces(): number {
  return SPACES.size;
}

/** Ends a memory broker as `kill -9` of its process would: nothing is handed back and leases run out. */
export function crashMemoryBroker(broker: Broker): void {
  if (!(broker instanceof MemoryBroker)) throw new TypeError('crashMemoryBroker() takes a broker that openMemoryBroker() opened');
  broker.crash();
}

function spaceName(url: string): string {
  const match = /^memory:(?:\/\/)?([A-Za-z0-9_.-]*)$/i.exec(url);
  if (!match) {
    throw new ConfigError(
      'E_CONFIG_URL',
      `${JSON.stringify(url)} is no memory URL: write memory: or memory:NAME with letters, digits, '.', '_' and '-'`,
    );
  }
  return match[1] ?? '';
}

class MemoryBroker implements Broker {
  readonly name = 'memory';
  readonly capabilities = CAPABILITIES;
  readonly deadLetters: DeadLetters;
  readonly pauses: Pauses;
  readonly waiting: WalkedMessages;
  readonly revocations: Revocations;
  readonly #use: SharedUse<MemorySpace>;
  readonly #space: MemorySpace;
  readonly #consumers = new Set<MemoryConsumer>();
  readonly #listeners = new Set<Listener>();
  #closed = false;

  constructor(use: SharedUse<MemorySpace>) {
    this.#use = use;
    this.#space = use.value;
    this.deadLetters = new KeyedDeadLetters(memoryDeadStore(this.#space, () => this.#assertOpen()));
    this.pauses = memoryPauses(this.#space, () => this.#assertOpen());
    this.waiting = new WalkedMessages(memoryWalk(this.#space, () => this.#assertOpen()));
    this.revocations = {
      records: sharedTimedSet(this.#space.revoked, () => this.#assertOpen()),
      withdraw: async (ids) => {
        this.#assertOpen();
        return this.#space.withdraw(new Set(ids));
      },
    };
  }

  async connect(): Promise<void> {
    this.#assertOpen();
  }

  async publish(messages: readonly OutgoingMessage[], options: PublishOptions): Promise<readonly PublishResult[]> {
    this.#assertOpen();
    const { signal } = options;
    if (signal?.aborted) {
      return messages.map(
        () =>
          new PublishError('E_PUBLISH_FAILED', 'the send was aborted before anything was sent', {
            outcome: 'not-sent',
            cause: signal.reason,
          }),
      );
    }
    return messages.map((message) => this.#space.accept(message));
  }

  async consume(options: ConsumeOptions): Promise<Consumer> {
    this.#assertOpen();
    const consumer = new MemoryConsumer(this.#space, options, () => this.#consumers.delete(consumer));
    this.#consumers.add(consumer);
    this.#space.consumers.add(consumer);
    options.onState('connected');
    this.#space.schedulePump();
    return consumer;
  }

  async declare(queue: string): Promise<void> {
    this.#assertOpen();
    this.#space.queue(queue);
  }

  async queues(): Promise<readonly string[]> {
    this.#assertOpen();
    return [...this.#space.queues.keys()].sort();
  }

  async depth(queues: readonly string[]): Promise<readonly QueueDepth[]> {
    this.#assertOpen();
    return queues.map((name) => {
      const queue = this.#space.queues.get(name);
      return { queue: name, ready: queue?.ready ?? 0, delayed: queue?.delayed ?? 0, unacked: queue?.held ?? 0 };
    });
  }

  async peek(name: string, limit: number): Promise<readonly Peeked[]> {
    this.#assertOpen();
    const queue = this.#space.queues.get(name);
    const shown: Peeked[] = [];
    if (!queue) return shown;
    for (const { message, raw } of queue) {
      if (shown.length >= limit) return shown;
      shown.push(message ? { message, notBeforeMs: null } : { garbage: raw ?? new Uint8Array() });
    }
    for (const { entry, atMs } of this.#space.delays.of(queue)) {
      if (shown.length >= limit) return shown;
      if (entry.message) shown.push({ message: entry.message, notBeforeMs: atMs });
    }
    return shown;
  }

  async purge(name: string, onProgress?: (removed: number) => void): Promise<number> {
    this.#assertOpen();
    const queue = this.#space.queues.get(name);
    if (!queue) return 0;
    let removed = this.#space.dropDelayed(queue);
    if (removed > 0) onProgress?.(removed);
    // only what is there now: with senders at work it would never end
    for (let left = queue.ready; left > 0 && queue.ready > 0; ) {
      for (let step = Math.min(left, PURGE_STEP); step > 0 && queue.shift(); step -= 1) {
        removed += 1;
        left -= 1;
      }
      onProgress?.(removed);
      await new Promise((resolve) => setImmediate(resolve));
    }
    return removed;
  }

  async broadcast(broadcast: Broadcast): Promise<number> {
    this.#assertOpen();
    return this.#space.broadcast(broadcast);
  }

  async listen(exchange: string, pattern: string, onBroadcast: (broadcast: Broadcast) => void): Promise<Subscription> {
    this.#assertOpen();
    const listener: Listener = { exchange, matches: topicMatcher(pattern), onBroadcast };
    this.#listeners.add(listener);
    this.#space.listeners.add(listener);
    return {
      close: async () => {
        this.#listeners.delete(listener);
        this.#space.listeners.delete(listener);
      },
    };
  }

  /** A listener like others: what is told is heard in the next turn, so nothing ever lies in it. */
  async openInbox(exchange: string, onReply: (message: WireMessage) => void): Promise<Inbox> {
    const address: ReplyAddress = { exchange, routingKey: randomUUID() };
    const { close } = await this.listen(exchange, address.routingKey, ({ message }) => onReply(message));
    return { address, close };
  }

  async sendReply(to: ReplyAddress, message: WireMessage): Promise<void> {
    this.#assertOpen();
    this.#space.broadcast({ ...to, message });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    for (const consumer of [...this.#consumers]) await consumer.close();
    this.#end();
  }

  crash(): void {
    if (this.#closed) return;
    for (const consumer of this.#consumers) consumer.crash();
    this.#end();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #end(): void {
    this.#closed = true;
    for (const listener of this.#listeners) this.#space.listeners.delete(listener);
    this.#listeners.clear();
    this.#use.release();
  }

  #assertOpen(): void {
    if (this.#closed) throw new BrokerError('E_CLOSED', 'the memory broker was used after close()');
  }
}
