/**
 * Group commit: whatever is asked of the file in one turn of the loop goes into one transaction, because a commit costs
 * the same for one row as for a thousand, and one flush confirms all that was committed before it. Owns the order, the
 * waiting for other processes' locks, deadlines, flushing, and what happens when one of many fails. Runs in an engine's loop or in the writer thread; does not know which.
 */
import { BrokerError, toError } from '../../core/errors.js';
import type { Database } from './database.js';
import type { Doorbell } from './doorbell.js';
import { isBusy, isFull, toBrokerError } from './faults.js';
import type { BellKind, CallOptions, OperationModule, OperationTable } from './operations.js';

/** A transaction holds the lock against other processes: so many rows, then the next one. */
const MAX_WEIGHT = 5_000;
/** Calls that may wait, for example while another process holds the lock. */
const MAX_WAITING = 100_000;
const LOCK_PATIENCE_MS = 30_000;
/** Taking the lock takes microseconds. A process for which it took longer was stopped meanwhile, perhaps with the lock in its hand. */
const STOPPED_MS = 500;
/** Long enough for those who wait for the lock: they ask for it every few milliseconds. */
const LET_OTHERS_MS = 50;

interface Call {
  readonly operation: (argument: never) => unknown;
  readonly argument: unknown;
  readonly options: CallOptions;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** A call that is committed but not on the disk yet. */
interface Committed {
  readonly call: Call;
  readonly value: unknown;
}

export class GroupCommit {
  readonly #database: Database;
  readonly #bell: Doorbell;
  readonly #tables: OperationTable[] = [];
  readonly #operations = new Map<string, (argument: never) => unknown>();
  readonly #rings = new Set<BellKind>();
  /** Those of the transaction that is running; they count once it is committed. */
  readonly #newRings = new Set<BellKind>();
  #waiting: Call[] = [];
  #scheduled: NodeJS.Immediate | NodeJS.Timeout | null = null;
  #lockedSinceMs: number | null = null;
  #nowMs = 0;
  /** Whether the lock was let go of, so that others come first; once, and then the work goes on however slow the machine is. */
  #letGo: 'no' | 'now' | 'done' = 'no';
  /** Durable calls that are committed and wait for the next flush. */
  #committed: Committed[] = [];
  /** Those that the flush which is under way will confirm. */
  #flushing: Committed[] = [];
  #makingRoom = false;

  constructor(database: Database, bell: Doorbell) {
    this.#database = database;
    this.#bell = bell;
  }

  /** Adds a driver's operations; a name that is there already is left alone. */
  add(module: Pick<OperationModule, 'name' | 'prepareOperations'>): void {
    if (this.#operations.has(module.name)) return;
    const table = module.prepareOperations(this.#database.connection, {
      nowMs: () => this.#nowMs,
      ring: (kind) => this.#newRings.add(kind),
      take: (counter, count) => this.#database.take(counter, count),
    });
    this.#tables.push(table);
    this.#operations.set(module.name, () => undefined);
    for (const [name, operation] of Object.entries(table.calls)) this.#operations.set(`${module.name}.${name}`, operation);
  }

  call(name: string, argument: unknown, options: CallOptions): Promise<unknown> {
    return new Promise((resolve, reject) => this.enqueue(name, argument, options, resolve, reject));
  }

  enqueue(
    name: string,
    argument: unknown,
    options: CallOptions,
    resolve: (value: unknown) => void,
    reject: (error: Error) => void,
  ): void {
    const operation = this.#operations.get(name);
    if (!operation) return reject(new BrokerError('E_INTERNAL', `the embedded file has no operation ${name}`));
    if (this.#waiting.length >= MAX_WAITING) {
      return reject(
        new BrokerError(
          'E_BROKER_UNREACHABLE',
          `${MAX_WAITING} operations wait for ${this.#database.path} already: another process holds its lock`,
        ),
      );
    }
    this.#waiting.push({ operation, argument, options, resolve, reject });
    this.#scheduled ??= setImmediate(() => this.#run());
  }

  /** Runs what waits now, once; then nothing more. What could not run is rejected. */
  close(): void {
    this.#unschedule();
    for (let rounds = 0; this.#waiting.length > 0 && rounds < MAX_WAITING; rounds += 1) {
      this.#run();
      if (this.#lockedSinceMs !== null) break;
    }
    this.#unschedule();
    this.#flushNow();
    const left = this.#waiting;
    this.#waiting = [];
    for (const call of left)
      call.reject(new BrokerError('E_CLOSED', `${this.#database.path} was closed while another process held its lock`));
  }

  #run(): void {
    this.#scheduled = null;
    this.#nowMs = Date.now();
    const calls = this.#take();
    const writes: Call[] = [];
    const reads: Call[] = [];
    for (const call of calls) (call.options.mode === 'read' ? reads : writes).push(call);
    const settled: (() => void)[] = [];
    const locked: Call[] = [];
    if (writes.length > 0 && !this.#write(writes, settled)) locked.push(...writes);
    for (const call of reads) this.#read(call, settled, locked);
    // before the flush: who takes a message that the power then loses has done a work that was never confirmed
    this.#ring();
    this.#flush();
    for (const settle of settled) settle();
    if (writes.length > 0 && locked.length === 0) this.#database.checkpointIfDue();
    this.#again(locked);
  }

  /** The calls of the next transaction, without those whose time is over. */
  #take(): Call[] {
    const waiting = this.#waiting;
    const calls: Call[] = [];
    let weight = 0;
    let index = 0;
    for (; index < waiting.length && weight < MAX_WEIGHT; index += 1) {
      const call = waiting[index] as Call;
      if (call.options.deadlineMs !== undefined && call.options.deadlineMs <= this.#nowMs) call.reject(this.#tooLate());
      else {
        calls.push(call);
        weight += call.options.weight ?? 1;
      }
    }
    this.#waiting = index === waiting.length ? [] : waiting.slice(index);
    return calls;
  }

  /** `false`: another process holds the lock and nothing was done. */
  #write(calls: readonly Call[], settled: (() => void)[]): boolean {
    const values: unknown[] = [];
    try {
      if (!this.#begin()) return false;
      for (const call of calls) values.push(call.operation(call.argument as never));
      for (const table of this.#tables) table.beforeCommit?.();
      this.#database.commit();
    } catch (error) {
      this.#database.rollback();
      for (const table of this.#tables) table.afterRollback?.();
      this.#newRings.clear();
      if (isBusy(error)) return false;
      this.#afterFailure(calls, error, settled);
      return true;
    }
    for (const kind of this.#newRings) this.#rings.add(kind);
    this.#newRings.clear();
    for (let index = 0; index < calls.length; index += 1) {
      const call = calls[index] as Call;
      if (call.options.mode === 'durable' && this.#database.flushes) this.#committed.push({ call, value: values[index] });
      else settled.push(() => call.resolve(values[index]));
    }
    return true;
  }

  /**
   * Takes the lock, then reads the clock: what operations read of others (their leases) is no older than the lock. With a clock that was
   * read before, a process that was stopped in between would take all leases for too long to be true. And one that was stopped with the
   * lock kept the others from renewing theirs: it lets them do so before it judges them.
   */
  #begin(): boolean {
    const askedMs = Date.now();
    try {
      this.#database.begin();
    } catch (error) {
      if (isBusy(error)) return false;
      throw error;
    }
    this.#nowMs = Date.now();
    if (this.#nowMs - askedMs <= STOPPED_MS || this.#letGo === 'done') {
      this.#letGo = 'no';
      return true;
    }
    this.#database.rollback();
    this.#letGo = 'now';
    return false;
  }

  /** One of several failed and all were undone: each for itself finds the culprit and saves the others. */
  #afterFailure(calls: readonly Call[], error: unknown, settled: (() => void)[]): void {
    const [only] = calls;
    // A WAL that has been copied back is written over from its start and needs no room: what frees room can go on.
    if (isFull(error) && !this.#makingRoom && this.#database.checkpoint()) {
      this.#makingRoom = true;
      const written = this.#write(calls, settled);
      this.#makingRoom = false;
      if (!written) this.#waiting.unshift(...calls);
      return;
    }
    if (only && calls.length === 1) {
      settled.push(() => only.reject(toBrokerError(error, this.#database.path)));
      return;
    }
    for (const call of calls) {
      if (!this.#write([call], settled)) this.#waiting.unshift(call);
    }
  }

  #read(call: Call, settled: (() => void)[], locked: Call[]): void {
    try {
      const value = call.operation(call.argument as never);
      settled.push(() => call.resolve(value));
    } catch (error) {
      if (isBusy(error)) locked.push(call);
      else settled.push(() => call.reject(toBrokerError(error, this.#database.path)));
    }
  }

  /** One flush at a time; what is committed meanwhile shares the next. */
  #flush(): void {
    if (this.#flushing.length > 0 || this.#committed.length === 0) return;
    this.#flushing = this.#committed;
    this.#committed = [];
    this.#database.flush((error) => {
      const flushed = this.#flushing;
      this.#flushing = [];
      this.#flush();
      this.#confirm(flushed, error);
    });
  }

  /** Before closing: a flush in another thread would come too late. */
  #flushNow(): void {
    const all = [...this.#flushing, ...this.#committed];
    this.#flushing.length = 0;
    this.#committed = [];
    if (all.length === 0) return;
    try {
      this.#database.flushNow();
      this.#confirm(all, null);
    } catch (error) {
      this.#confirm(all, toError(error));
    }
  }

  #confirm(flushed: readonly Committed[], error: Error | null): void {
    for (const { call, value } of flushed) {
      if (error === null) call.resolve(value);
      else {
        const message = `${this.#database.path} could not be flushed to the disk (${error.message}): what was written may be lost with the power; check the disk`;
        call.reject(new BrokerError('E_CONNECTION_LOST', message, { cause: error }));
      }
    }
  }

  #ring(): void {
    if (this.#rings.size === 0) return;
    for (const kind of this.#rings) this.#bell.ring(kind);
    this.#rings.clear();
  }

  /** Comes back for the rest: at once, or in a moment if the lock is taken. SQLite's own waiting would block the loop. */
  #again(locked: readonly Call[]): void {
    if (locked.length === 0) this.#lockedSinceMs = null;
    else {
      this.#waiting = [...locked, ...this.#waiting];
      this.#lockedSinceMs ??= performance.now();
      if (performance.now() - this.#lockedSinceMs > LOCK_PATIENCE_MS) return this.#giveUp();
    }
    if (this.#waiting.length === 0) return;
    this.#unschedule();
    const tried = this.#lockedSinceMs === null ? 0 : performance.now() - this.#lockedSinceMs;
    // Transactions take well under a millisecond: first on the next turn, then every one to four milliseconds.
    const waitMs = this.#letGo === 'now' ? LET_OTHERS_MS : tried < 2 ? 0 : 1 + Math.random() * 3;
    if (this.#letGo === 'now') this.#letGo = 'done';
    this.#scheduled = waitMs === 0 ? setImmediate(() => this.#run()) : setTimeout(() => this.#run(), waitMs);
  }

  #giveUp(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#lockedSinceMs = null;
    const error = new BrokerError(
      'E_BROKER_UNREACHABLE',
      `${this.#database.path} stayed locked by another process for ${LOCK_PATIENCE_MS / 1_000} s: look for one that is stopped or stuck`,
    );
    for (const call of waiting) call.reject(error);
  }

  #tooLate(): BrokerError {
    return new BrokerError(
      'E_PUBLISH_TIMEOUT',
      `${this.#database.path} was locked by other processes until the deadline; nothing was written`,
    );
  }

  #unschedule(): void {
    // the wrong kind of clear is a no-op for either
    if (this.#scheduled) {
      clearImmediate(this.#scheduled as NodeJS.Immediate);
      clearTimeout(this.#scheduled as NodeJS.Timeout);
    }
    this.#scheduled = null;
  }
}
