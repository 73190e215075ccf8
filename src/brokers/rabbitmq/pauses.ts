/**
 * The pauses of RabbitMQ, which keeps messages and nothing else: so they are one message, the whole table, in the durable
 * queue `lovage.pauses`. It is taken to be read and put back; whoever changes it publishes the new table, and only then
 * acknowledges the old one. Killed in between there are two, and the higher version counts.
 *
 * One at a time, over all processes, or a second one would find the queue empty: the lock is a queue that only one
 * connection can have, and it goes with that connection. Bounded by `MOST_PAUSES`.
 */
import type { AmqpLink, Channel, GetMessage } from '../../clients/amqp.js';
import type { ConfirmPublisher } from '../../clients/amqp-publisher.js';
import { AMQP_NOT_FOUND, AMQP_RESOURCE_LOCKED, amqpCode, type SetupChannel } from '../../clients/amqp-setup.js';
import { sleep } from '../../core/clock.js';
import { BrokerError } from '../../core/errors.js';
import { addPauses, type Pause, type Paused, type Pauses, pauseKey, pauseOf, sortPauses } from '../pauses.js';
import { declarationError } from './declaration-error.js';

const TABLE_QUEUE = 'lovage.pauses';
/** Only one connection can declare it. */
const LOCK_QUEUE = 'lovage.pauses.lock';
const LOCK_AGAIN_MS = 40;
const ASK_MS = 10_000;

export interface RabbitmqPauseParts {
  readonly link: AmqpLink;
  readonly publisher: ConfirmPublisher;
  readonly setup: () => SetupChannel;
  /** Throws once the broker was closed. */
  readonly assertOpen: () => void;
}

/** Since when what is paused, by key. */
interface Table {
  readonly version: number;
  readonly pauses: ReadonlyMap<string, number>;
}

const EMPTY: Table = { version: 0, pauses: new Map() };

export class RabbitmqPauses implements Pauses {
  readonly #parts: RabbitmqPauseParts;
  /** The lock is the connection's: within it one after the other. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(parts: RabbitmqPauseParts) {
    this.#parts = parts;
  }

  async list(): Promise<readonly Pause[]> {
    if (!(await this.#exists())) return [];
    const { pauses } = await this.#locked((table) => ({ table, changed: null }));
    const found = [...pauses].map(([key, since]) => pauseOf(key, since)).filter((pause) => pause !== null);
    return sortPauses(found);
  }

  async add(pauses: readonly Pause[]): Promise<readonly boolean[]> {
    this.#parts.assertOpen();
    await this.#setup((channel) => channel.assertQueue(TABLE_QUEUE, { durable: true }));
    let added: readonly boolean[] = [];
    await this.#locked((table) => {
      const changed = new Map(table.pauses);
      added = addPauses(changed, pauses, ({ sinceMs }) => sinceMs);
      return { table, changed: added.includes(true) ? changed : null };
    });
    return added;
  }

  async remove(names: readonly Paused[]): Promise<readonly boolean[]> {
    if (!(await this.#exists())) return names.map(() => false);
    let removed: readonly boolean[] = [];
    await this.#locked((table) => {
      const changed = new Map(table.pauses);
      removed = names.map((name) => changed.delete(pauseKey(name)));
      return { table, changed: removed.includes(true) ? changed : null };
    });
    return removed;
  }

  /** Nothing was ever paused where the queue is missing: most estates, at every start of a worker. */
  async #exists(): Promise<boolean> {
    this.#parts.assertOpen();
    return this.#setup((channel) => channel.checkQueue(TABLE_QUEUE)).then(
      () => true,
      (error: unknown) => {
        if (amqpCode(error) === AMQP_NOT_FOUND) return false;
        throw declarationError(error, 'queue', TABLE_QUEUE);
      },
    );
  }

  #setup<T>(operation: (channel: Channel) => Promise<T>): Promise<T> {
    return this.#parts.setup().run(ASK_MS, operation);
  }

  /** Runs `decide` on the table, alone; `changed` takes its place. */
  #locked(decide: (table: Table) => { table: Table; changed: ReadonlyMap<string, number> | null }): Promise<Table> {
    const turn = this.#turn.then(() => this.#alone(decide));
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  async #alone(decide: (table: Table) => { table: Table; changed: ReadonlyMap<string, number> | null }): Promise<Table> {
    const lock = await this.#lock(performance.now() + ASK_MS);
    let channel: Channel | undefined;
    try {
      const model = await this.#parts.link.connected(ASK_MS);
      channel = await openChannel(model);
      const held = await takeAll(channel);
      const { table, changed } = decide(held.reduce(newer, EMPTY));
      if (changed !== null) {
        await this.#publish({ version: table.version + 1, pauses: changed });
        for (const message of held) channel.ack(message);
      }
      return table;
    } finally {
      // Closing gives back what was not acknowledged; the lock ends after it, so that the next one finds the table.
      await channel?.close().catch(() => undefined);
      await lock.deleteQueue(LOCK_QUEUE).catch(() => undefined);
      await lock.close().catch(() => undefined);
    }
  }

  async #lock(deadlineMs: number): Promise<Channel> {
    for (;;) {
      const channel = await openChannel(await this.#parts.link.connected(ASK_MS));
      try {
        await channel.assertQueue(LOCK_QUEUE, { exclusive: true, durable: false });
        return channel;
      } catch (error) {
        if (amqpCode(error) !== AMQP_RESOURCE_LOCKED) throw declarationError(error, 'queue', LOCK_QUEUE);
        if (performance.now() >= deadlineMs)
          throw new BrokerError('E_CONNECTION_LOST', `the pauses were in use by somebody else for ${ASK_MS / 1_000} s`, {
            cause: error,
          });
        // Many workers that start together must not knock together.
        await sleep(LOCK_AGAIN_MS * (0.5 + Math.random()));
      }
    }
  }

  async #publish({ version, pauses }: Table): Promise<void> {
    const [failure] = await this.#parts.publisher.publish(
      [
        {
          exchange: '',
          routingKey: TABLE_QUEUE,
          content: Buffer.from(JSON.stringify({ version, pauses: Object.fromEntries(pauses) })),
          options: { contentType: 'application/json', deliveryMode: 2, mandatory: true },
        },
      ],
      { timeoutMs: ASK_MS },
    );
    if (failure)
      throw new BrokerError(failure.code, `the pauses could not be stored: ${failure.message}`, { cause: failure.cause });
  }
}

async function openChannel(model: { createChannel(): Promise<Channel> }): Promise<Channel> {
  const channel = await model.createChannel();
  channel.on('error', () => undefined); // told to the caller by its own rejection
  return channel;
}

/** One table, or two after a crash. More were put there by somebody else, and go back unread. */
async function takeAll(channel: Channel): Promise<readonly GetMessage[]> {
  const held: GetMessage[] = [];
  for (let message = await get(channel); message !== false && held.length < 10; message = await get(channel)) held.push(message);
  return held;
}

const get = (channel: Channel): Promise<GetMessage | false> => channel.get(TABLE_QUEUE, { noAck: false });

/** The newer of a table and what a message holds; a message that is no table counts for nothing. */
function newer(table: Table, { content }: GetMessage): Table {
  try {
    const { version, pauses } = JSON.parse(content.toString()) as { version: unknown; pauses: unknown };
    if (typeof version !== 'number' || version <= table.version || typeof pauses !== 'object' || pauses === null) return table;
    return { version, pauses: new Map(Object.entries(pauses).map(([key, since]) => [key, Number(since)])) };
  } catch {
    return table;
  }
}
