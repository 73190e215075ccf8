/**
 * Rows of messages on their way into a transaction: queue numbers, fresh ids, and inserting in bulk, because a call
 * into SQLite costs as much as the row. Used by the operations; owns nothing beyond a transaction but the names that it
 * has looked up.
 */
import type { SqliteConnection, SqliteStatement, SqliteValue } from '../../clients/sqlite/driver.js';
import type { OperationContext } from '../../clients/sqlite/operations.js';
import { BrokerError } from '../../core/errors.js';
import type { NewRow } from './call-types.js';

/** `messages.seen`: 0 until it comes back for the first time, then this … */
export const SEEN = 1;
/** … and this while who holds it may have started it. It ends with the hold: who puts a message back writes `SEEN`. */
export const SECURED = 2;

const ROWS_AT_ONCE = 32;
const COLUMNS = 7;
/** Names are typed by people and programs; a program that makes one a message would grow the table for ever. */
const MAX_QUEUES = 10_000;

export class MessageTable {
  readonly #context: OperationContext;
  readonly #insertMany: SqliteStatement;
  readonly #insertOne: SqliteStatement;
  readonly #lineUp: SqliteStatement;
  readonly #lineUpOne: SqliteStatement;
  readonly #postpone: SqliteStatement;
  readonly #indexTask: SqliteStatement;
  readonly #dropTasks: SqliteStatement;
  readonly #firstDue: SqliteStatement;
  readonly #move: SqliteStatement;
  readonly #queueOf: SqliteStatement;
  readonly #findQueue: SqliteStatement;
  readonly #addQueue: SqliteStatement;
  readonly #countQueues: SqliteStatement;
  /** Cleared on rollback: a queue may have been made by what was undone. */
  readonly #queueIds = new Map<string, number>();
  /** New messages that are ready at once, flat, without ids. */
  #fresh: SqliteValue[] = [];

  constructor(connection: SqliteConnection, context: OperationContext) {
    this.#context = context;
    const row = `(${Array<string>(COLUMNS).fill('?').join(',')})`;
    this.#insertMany = connection.prepare(`INSERT INTO messages VALUES ${Array<string>(ROWS_AT_ONCE).fill(row).join(',')}`);
    this.#insertOne = connection.prepare(`INSERT INTO messages VALUES ${row}`);
    this.#lineUp = connection.prepare('INSERT INTO line SELECT queue, rank, id FROM messages WHERE id BETWEEN ? AND ?');
    this.#lineUpOne = connection.prepare('INSERT INTO line SELECT queue, rank, id FROM messages WHERE id = ?');
    this.#postpone = connection.prepare(
      'INSERT INTO later(queue, due, id, rank) SELECT queue, ?, id, rank FROM messages WHERE id = ?',
    );
    this.#indexTask = connection.prepare(
      `INSERT INTO later_tasks SELECT json_extract(head, '$[3].id'), id, ? FROM messages
       WHERE id = ? AND json_valid(head) AND json_type(head, '$[3].id') = 'text'`,
    );
    this.#dropTasks = connection.prepare(
      `DELETE FROM later_tasks WHERE (task, id) IN (
         SELECT CASE WHEN json_valid(m.head) THEN json_extract(m.head, '$[3].id') END, m.id
         FROM later l JOIN messages m ON m.id = l.id WHERE l.queue = ? AND (l.due, l.id) <= (?, ?))`,
    );
    this.#firstDue = connection.prepare('SELECT min(due) AS due FROM later WHERE queue = ?');
    this.#move = connection.prepare(
      `UPDATE messages SET id = ?, queue = coalesce(?, queue), seen = max(min(seen, ${SEEN}), ?) WHERE id = ?`,
    );
    this.#queueOf = connection.prepare('SELECT queue FROM messages WHERE id = ?');
    this.#findQueue = connection.prepare('SELECT id FROM queues WHERE name = ?');
    this.#addQueue = connection.prepare('INSERT INTO queues(name) VALUES(?) RETURNING id');
    this.#countQueues = connection.prepare('SELECT count(*) AS n FROM queues');
  }

  /** The queue's number, if it exists. */
  findQueue(name: string): number | undefined {
    const known = this.#queueIds.get(name);
    if (known !== undefined) return known;
    const id = this.#findQueue.get([name])?.['id'];
    if (typeof id !== 'number') return undefined;
    return this.#remember(name, id);
  }

  /** The queue's number, made if need be. @throws BrokerError `E_BROKER_FULL` */
  queue(name: string): number {
    const known = this.#queueIds.get(name) ?? this.findQueue(name);
    if (known !== undefined) return known;
    if (Number(this.#countQueues.get([])?.['n']) >= MAX_QUEUES) {
      throw new BrokerError(
        'E_BROKER_FULL',
        `the embedded broker has ${MAX_QUEUES} queues, its limit: queue '${name}' was not made`,
      );
    }
    return this.#remember(name, Number(this.#addQueue.all([name])[0]?.['id']));
  }

  /** Takes a new message; it is written with its like by `flush`. */
  add([queue, rank, dueMs, head, body]: NewRow): void {
    const queueId = this.queue(queue);
    if (dueMs > this.#context.nowMs()) {
      const id = this.#context.take('message', 1);
      this.#insertOne.run([id, queueId, rank, 0, 0, head, body]);
      this.postpone(id, dueMs);
    } else this.#fresh.push(0, queueId, rank, 0, 0, head, body);
  }

  /** Writes what was added. Ids are given here, so that the line can be extended by one range. */
  flush(): void {
    const fresh = this.#fresh;
    if (fresh.length === 0) return;
    this.#fresh = [];
    const count = fresh.length / COLUMNS;
    const first = this.#context.take('message', count);
    for (let index = 0; index < count; index += 1) fresh[index * COLUMNS] = first + index;
    const step = ROWS_AT_ONCE * COLUMNS;
    let start = 0;
    for (; start + step <= fresh.length; start += step)
      this.#insertMany.run(start === 0 && fresh.length === step ? fresh : fresh.slice(start, start + step));
    for (; start < fresh.length; start += COLUMNS) this.#insertOne.run(fresh.slice(start, start + COLUMNS));
    this.#lineUp.run([first, first + count - 1]);
    this.#context.ring('messages');
  }

  /** Writes one message at once and returns its id; it is in no place yet. */
  insert(queueId: number, rank: number, head: SqliteValue, body: SqliteValue): number {
    const id = this.#context.take('message', 1);
    this.#insertOne.run([id, queueId, rank, 0, 0, head, body]);
    return id;
  }

  /** Puts a message that is in no place into the line of its queue. */
  lineUp(id: number): void {
    this.#lineUpOne.run([id]);
    this.#context.ring('messages');
  }

  /** Lets a message that is in no place wait. Who sleeps has a timer for the first one of its queue, and must hear of an earlier one. */
  postpone(id: number, dueMs: number): void {
    const queueId = this.#queueOf.get([id])?.['queue'] ?? null;
    const first = this.#firstDue.get([queueId])?.['due'];
    this.#postpone.run([dueMs, id]);
    this.#indexTask.run([dueMs, id]);
    if (typeof first !== 'number' || dueMs < first) this.#context.ring('messages');
  }

  /** Messages of this queue up to here wait no longer: their tasks are not found by their ids any more. Before anything happens to them. */
  endWaits(queueId: number, dueMs: SqliteValue, id: SqliteValue): void {
    this.#dropTasks.run([queueId, dueMs, id]);
  }

  /**
   * Gives a message a new id, before or behind all others, and another queue if one is named. Its old id is dead: a
   * claim that still lists it holds nothing.
   */
  renumber(id: number, where: 'front' | 'back', options: { readonly queueId?: number | null; readonly seen: boolean }): number {
    const next = this.#context.take(where === 'front' ? 'front' : 'message', 1);
    this.#move.run([next, options.queueId ?? null, options.seen ? SEEN : 0, id]);
    return next;
  }

  forget(): void {
    this.#fresh = [];
    this.#queueIds.clear();
  }

  #remember(name: string, id: number): number {
    this.#queueIds.set(name, id);
    return id;
  }
}
