/**
 * The file broker: an embedded, durable queue in one SQLite file, shared by any number of processes on one machine, with
 * no server. Owns the seam (`broker.ts`): publishing, consuming, looking. Below it: `clients/sqlite/` (transactions,
 * waking, checkpoints) and `operations.ts` (what happens in the database).
 */
import { backupDatabase } from '../../clients/sqlite/backup.js';
import type { OperationModule } from '../../clients/sqlite/operations.js';
import { FileSession } from '../../clients/sqlite/session.js';
import { BrokerError, WireError } from '../../core/errors.js';
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
import { WalkedMessages } from '../waiting.js';
import { BroadcastListeners } from './broadcast-listeners.js';
import type { DepthRow, NewBroadcastRow, PeekRow } from './call-types.js';
import { FileConsumer } from './consumer.js';
import { fileDeadStore } from './dead-letters.js';
import { Inboxes } from './inboxes.js';
import { ListenerRows } from './listener-rows.js';
import { brokerOperations } from './operations.js';
import { filePauses } from './pauses.js';
import { publishRows } from './publish.js';
import { fileRevocations } from './revocations.js';
import { decodeRow, encodeBody, encodeHead, rawBytes } from './row-message.js';
import { fileWalk } from './waiting.js';

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
  celery: 'the embedded file is read by Lovage only: use redis:// or amqp:// to share queues with Python',
  queueDeclarations: 'a queue in a file is its name and nothing more: messages go to it by that',
  countsListeners: true,
};

/** Opens the file broker of this URL; the file itself is opened by `connect` or the first use. @throws ConfigError */
export async function openFileBroker(options: BrokerOptions): Promise<Broker> {
  return new FileBroker(options, brokerOperations);
}

/**
 * Copies the file of a `file:` broker while it is in use. `onProgress` hears the share that is done, 0 to 1.
 * @throws ConfigError, BrokerError as `backupDatabase`
 */
export function backupFile(url: string, destination: string, onProgress?: (share: number) => void): Promise<void> {
  return backupDatabase(url, destination, onProgress);
}

/** What tests may do to a file broker that nobody else may. */
export interface FileBrokerForTests {
  /** Puts bytes into a queue that are no message; with `head`, a row with that text in its head column. */
  putRaw(queue: string, bytes: Uint8Array, head?: string): Promise<void>;
  /** Ends as `kill -9` would: nothing is handed back and leases run out. */
  kill(): Promise<void>;
  /** Ends the lease of every delivery of this broker's consumers, which live and hear of it. */
  loseDeliveries(): Promise<void>;
}

/** The test side of a broker that `openFileBroker` made. */
export function fileBrokerForTests(broker: Broker): FileBrokerForTests {
  if (!(broker instanceof FileBroker)) throw new TypeError('fileBrokerForTests() takes a broker that openFileBroker() opened');
  return broker.forTests();
}

class FileBroker implements Broker {
  readonly name = 'file';
  readonly capabilities = CAPABILITIES;
  readonly deadLetters: DeadLetters;
  readonly revocations: Revocations;
  readonly pauses: Pauses;
  readonly waiting: WalkedMessages;
  readonly #session: FileSession;
  readonly #consumers = new Set<FileConsumer>();
  readonly #listenerRows: ListenerRows;
  readonly #listeners: BroadcastListeners;
  readonly #inboxes: Inboxes;
  #closed = false;

  constructor(options: BrokerOptions, operations: OperationModule) {
    this.#session = new FileSession(options, operations);
    this.#listenerRows = new ListenerRows(this.#session, options.logger);
    this.#listeners = new BroadcastListeners(this.#session, this.#listenerRows, options.logger);
    this.#inboxes = new Inboxes(this.#session, this.#listenerRows, options.logger);
    this.deadLetters = new KeyedDeadLetters(fileDeadStore(this.#session, () => this.#assertOpen()));
    this.revocations = fileRevocations(this.#session, () => this.#assertOpen());
    this.pauses = filePauses(this.#session, () => this.#assertOpen());
    this.waiting = new WalkedMessages(fileWalk(this.#session, () => this.#assertOpen()));
  }

  async connect({ timeoutMs }: { readonly timeoutMs: number }): Promise<void> {
    this.#assertOpen();
    await this.#session.open(timeoutMs);
  }

  async publish(messages: readonly OutgoingMessage[], options: PublishOptions): Promise<readonly PublishResult[]> {
    this.#assertOpen();
    return publishRows(this.#session, messages, options);
  }

  async consume(options: ConsumeOptions): Promise<Consumer> {
    this.#assertOpen();
    await this.#session.open();
    for (const { name } of options.queues) await this.#session.call('declare', name, { mode: 'relaxed' });
    this.#assertOpen();
    const consumer: FileConsumer = new FileConsumer(this.#session, options, () => this.#consumers.delete(consumer));
    this.#consumers.add(consumer);
    return consumer;
  }

  async declare(queue: string): Promise<void> {
    this.#assertOpen();
    await this.#session.call('declare', queue, { mode: 'durable' });
  }

  async queues(): Promise<readonly string[]> {
    this.#assertOpen();
    return this.#session.call('queues', null, { mode: 'read' });
  }

  async depth(queues: readonly string[]): Promise<readonly QueueDepth[]> {
    this.#assertOpen();
    return this.#session.call<DepthRow[]>('depth', queues, { mode: 'read' });
  }

  async peek(queue: string, limit: number): Promise<readonly Peeked[]> {
    this.#assertOpen();
    const rows = await this.#session.call<PeekRow[]>('peek', { queue, limit }, { mode: 'read' });
    return rows.map(({ head, body, dueMs }) => {
      const message = decodeRow(head, body);
      return message instanceof WireError ? { garbage: rawBytes(head, body) } : { message, notBeforeMs: dueMs };
    });
  }

  async purge(queue: string, onProgress?: (removed: number) => void): Promise<number> {
    const [depth] = await this.depth([queue]);
    // only what is there now: with senders at work it would never end
    const total = (depth?.ready ?? 0) + (depth?.delayed ?? 0);
    let removed = 0;
    while (removed < total) {
      const step = await this.#session.call<number>('purge', { queue, limit: total - removed }, { mode: 'durable' });
      if (step === 0) break;
      removed += step;
      onProgress?.(removed);
    }
    return removed;
  }

  async broadcast(broadcast: Broadcast): Promise<number> {
    this.#assertOpen();
    return this.#listenerRows.countLiving(await this.#session.call<number[]>('broadcast', toRow(broadcast), { mode: 'relaxed' }));
  }

  async listen(exchange: string, pattern: string, onBroadcast: (broadcast: Broadcast) => void): Promise<Subscription> {
    this.#assertOpen();
    return this.#listeners.add(exchange, pattern, onBroadcast);
  }

  async openInbox(exchange: string, onReply: (message: WireMessage) => void): Promise<Inbox> {
    this.#assertOpen();
    return this.#inboxes.open(exchange, onReply);
  }

  async sendReply(to: ReplyAddress, message: WireMessage): Promise<void> {
    this.#assertOpen();
    await this.#session.call('reply', toRow({ ...to, message }), { mode: 'relaxed' });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const consumer of [...this.#consumers]) await consumer.close({ timeoutMs: 5_000 });
    this.#listeners.close();
    this.#inboxes.close();
    await this.#listenerRows.close();
    await this.#session.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** See `fileBrokerForTests`. */
  forTests(): FileBrokerForTests {
    return {
      putRaw: async (queue, bytes, head = undefined) =>
        void (await this.#session.call('putRaw', { queue, bytes, head: head ?? null }, { mode: 'durable' })),
      kill: async () => {
        this.#closed = true;
        for (const consumer of [...this.#consumers]) consumer.kill();
        this.#listeners.close();
        this.#inboxes.close();
        this.#listenerRows.kill();
        await this.#session.close();
      },
      loseDeliveries: async () => {
        for (const consumer of this.#consumers) await consumer.loseAll();
      },
    };
  }

  #assertOpen(): void {
    if (this.#closed) throw new BrokerError('E_CLOSED', 'the file broker was used after close()');
  }
}

function toRow({ exchange, routingKey, message }: Broadcast): NewBroadcastRow {
  return { exchange, routingKey, head: encodeHead(message, undefined), body: encodeBody(message.body) };
}
