/**
 * Dead letters: the part of the broker seam about messages that were parked because they cannot run. What a dead letter
 * tells, how to look for some, and the pure rules that all drivers share: what is written down at parking, what matches
 * a filter, what is taken off a message before it is tried again.
 *
 * Nothing ever drops a dead letter by itself (docs/decisions/dead-letters.md). Their number is bounded by people, who
 * see it in `lovage queues list` and in the worker's log; everything that reads them is paged.
 * Next stop: `keyed-dead-letters.ts` for brokers that find a letter by its id, `rabbitmq/dead-letters.ts` for the one that cannot.
 */
import { randomBytes } from 'node:crypto';
import type { ErrorCode } from '../core/error-codes.js';
import type { WireMessage } from '../wire/message.js';
import { LOSSES_HEADER, RESENT_HEADER, SUSPECT_HEADER, UNKNOWN_SINCE_HEADER } from '../wire/own-headers.js';
import { upgradeProtocol1 } from '../wire/task-message.js';
import type { Arrival, ParkReason } from './broker.js';

/** What is known of a message's life before it was parked. */
export interface DeadHistory {
  /** Leases that ended while a worker held it: workers that died or hung. 0 where the broker cannot count them. */
  readonly leasesLost: number;
  /** Executors (threads, child processes) that died while they ran it. */
  readonly executorsLost: number;
  /** How often it had been retried. */
  readonly retries: number;
  /** The broker knew or suspected that somebody had it before. */
  readonly redelivered: boolean;
  /** When a worker first met it without knowing its task; wall milliseconds. */
  readonly unknownSinceMs: number | null;
  /** Node name of the worker that parked it. */
  readonly parkedBy: string | null;
}

/** A dead letter without its content. */
export interface DeadLetter {
  /** Unique on its broker. */
  readonly id: string;
  /** Wall time of the parking, by the clock of the worker that did it. */
  readonly parkedAtMs: number;
  /** The queue that it came from. */
  readonly queue: string;
  /** A code of `core/error-codes.ts`. */
  readonly code: string;
  readonly reason: string;
  /** Name and id of the task, where they can be read. */
  readonly task: string | null;
  readonly taskId: string | null;
  readonly history: DeadHistory;
  /** Bytes of its content as the broker keeps it. */
  readonly size: number;
}

/** A dead letter with its content. */
export interface DeadLetterContent {
  readonly letter: DeadLetter;
  /** Byte by byte what lay in the queue, where the broker keeps bytes; of a RabbitMQ message its body. */
  readonly raw: Uint8Array;
  /** `null`: it is no message, and cannot be replayed. */
  readonly message: WireMessage | null;
}

/** All given conditions hold. Times are wall milliseconds: `parkedAfterMs` included, `parkedBeforeMs` not. */
export interface DeadFilter {
  readonly queue?: string | undefined;
  readonly task?: string | undefined;
  readonly code?: string | undefined;
  readonly parkedAfterMs?: number | undefined;
  readonly parkedBeforeMs?: number | undefined;
}

/** These letters, or all that match; `{ filter: {} }` = all. What is parked after the start is not meant. */
export type DeadSelection = { readonly ids: readonly string[] } | { readonly filter: DeadFilter };

export interface DeadQuery {
  readonly filter?: DeadFilter;
  /** `next` of the page before. */
  readonly cursor?: string | null;
  /** Letters a page; 100 by default, 1,000 at most. */
  readonly limit?: number;
}

/** Newest first. */
export interface DeadPage {
  readonly letters: readonly DeadLetter[];
  /** Where the next page begins; `null` = there is none. A page may be short, even empty, although more follow: each call looks at a bounded number. */
  readonly next: string | null;
}

/** A sum over letters. Names beyond the first 1,000 are counted under `…`. */
export interface DeadTotals {
  readonly count: number;
  readonly bytes: number;
  readonly oldestMs: number | null;
  readonly newestMs: number | null;
  readonly queues: ReadonlyMap<string, number>;
  readonly codes: ReadonlyMap<string, number>;
}

export interface DeadWorkOptions {
  /** How long one step may take, reconnects included. */
  readonly timeoutMs: number;
  /** Stops between two steps; what was done stays done. */
  readonly signal?: AbortSignal | undefined;
  /** Called after each step with the running number of letters that are through. */
  readonly onProgress?: ((done: number) => void) | undefined;
}

export interface ReplayOptions extends DeadWorkOptions {
  /** Another queue than the one that the letter came from. */
  readonly queue?: string | undefined;
  /** Called before each step with the letters that are about to go, and their messages. A rejection ends the replay before they do. */
  readonly beforeStep?: ((letters: readonly DeadLetter[], messages: readonly WireMessage[]) => Promise<void>) | undefined;
}

/** A letter that stayed, and why. */
export interface DeadRefusal {
  readonly id: string;
  readonly code: ErrorCode;
  readonly message: string;
}

export interface DeadReport {
  /** Letters that were replayed or removed. */
  readonly done: number;
  /** Ids that were asked for and are not there. */
  readonly missing: readonly string[];
  /** The first hundred that stayed because they cannot be replayed … */
  readonly refused: readonly DeadRefusal[];
  /** … of so many. */
  readonly refusedCount: number;
}

/** The dead letters of a broker: of all its queues together. */
export interface DeadLetters {
  /** How many there are; one cheap question, whatever their number. */
  count(): Promise<number>;
  /** Looks at every letter. @throws BrokerError `E_DEAD_LETTERS_BUSY` where only one process can look at a time */
  totals(filter?: DeadFilter): Promise<DeadTotals>;
  list(query?: DeadQuery): Promise<DeadPage>;
  /** `null`: there is none with this id. */
  get(id: string): Promise<DeadLetterContent | null>;
  /**
   * Sends letters back to their queue, oldest first, for a fresh start: losses are forgotten, attempts are not. A letter
   * is removed only once the broker has confirmed its message, so an interruption may leave a copy too many, never one
   * too few. What is no message stays, with `E_DECODE`.
   */
  replay(which: DeadSelection, options: ReplayOptions): Promise<DeadReport>;
  /** Removes letters for good. */
  purge(which: DeadSelection, options: DeadWorkOptions): Promise<DeadReport>;
}

export const DEFAULT_PAGE = 100;
export const LARGEST_PAGE = 1_000;
/** Names in a sum, and refusals in a report: what is beyond is counted only. */
const MOST_NAMES = 1_000;
const MOST_REFUSALS = 100;
/** A reason is for people; what a broken message made it say must not fill the store. */
const LONGEST_REASON = 4_096;
/** As the wire: longer names are nobody's. */
const LONGEST_NAME = 1_024;
/** The body of a larger message of protocol 1 is not opened only to learn a name. */
const LARGEST_OPENED = 65_536;

let letterCount = 0;

/** An id that sorts by time, and for one process by order: 9 digits of milliseconds, 4 of a counter, 12 of chance. */
export function newDeadLetterId(nowMs: number): string {
  letterCount = (letterCount + 1) % 36 ** 4;
  const time = Math.max(0, Math.floor(nowMs)).toString(36).padStart(9, '0');
  return `${time}-${letterCount.toString(36).padStart(4, '0')}-${randomBytes(6).toString('hex')}`;
}

/** What is written down of a letter; id, time and size are the driver's. */
export type DeadFacts = Omit<DeadLetter, 'id' | 'parkedAtMs' | 'size'>;

/** The facts of a message that is being parked. */
export function deadFacts(arrival: Arrival, { code, reason }: ParkReason, parkedBy: string | null): DeadFacts {
  const message = arrival.kind === 'delivery' ? arrival.message : null;
  const { task, taskId } = taskOf(message);
  return {
    queue: arrival.queue,
    code,
    reason: reason.slice(0, LONGEST_REASON),
    task,
    taskId,
    history: historyOf(message?.headers ?? {}, {
      leasesLost: arrival.kind === 'delivery' ? arrival.losses : 0,
      redelivered: arrival.kind === 'delivery' && arrival.redelivered,
      parkedBy,
    }),
  };
}

/** What the headers tell, and what only the broker or the parking worker knew. */
export function historyOf(
  headers: Readonly<Record<string, unknown>>,
  known: Pick<DeadHistory, 'leasesLost' | 'redelivered' | 'parkedBy'>,
): DeadHistory {
  const since = headers[UNKNOWN_SINCE_HEADER];
  return {
    leasesLost: known.leasesLost,
    executorsLost: countOf(headers[LOSSES_HEADER]),
    retries: countOf(headers['retries']),
    redelivered: known.redelivered || headers['redelivered'] === true,
    unknownSinceMs: typeof since === 'number' && since >= 0 ? since : null,
    parkedBy: known.parkedBy,
  };
}

/** Name and id of a message's task; of protocol 1 they stand in the body. */
export function taskOf(message: WireMessage | null): Pick<DeadLetter, 'task' | 'taskId'> {
  if (!message) return { task: null, taskId: null };
  let { headers } = message;
  if (headers['task'] === undefined && message.body.data.length <= LARGEST_OPENED) {
    try {
      headers = upgradeProtocol1(message).headers;
    } catch {
      // neither protocol: it has no name
    }
  }
  return { task: nameOf(headers['task']), taskId: nameOf(headers['id']) };
}

/** Whether all conditions hold. */
export function matchesFilter(filter: DeadFilter, letter: DeadLetter): boolean {
  const { queue, task, code, parkedAfterMs, parkedBeforeMs } = filter;
  return (
    (queue === undefined || letter.queue === queue) &&
    (task === undefined || letter.task === task) &&
    (code === undefined || letter.code === code) &&
    (parkedAfterMs === undefined || letter.parkedAtMs >= parkedAfterMs) &&
    (parkedBeforeMs === undefined || letter.parkedAtMs < parkedBeforeMs)
  );
}

/**
 * The message as it goes back to a queue: without the marks for which it was parked, or the next worker would park it
 * again. Its attempts stay. Marked as sent before: workers may have claimed it, and then only another claim lets the
 * results of the new run in.
 */
export function freshStart(message: WireMessage): WireMessage {
  const headers: Record<string, unknown> = { ...message.headers, [RESENT_HEADER]: true };
  for (const mark of [LOSSES_HEADER, SUSPECT_HEADER, UNKNOWN_SINCE_HEADER, 'redelivered']) delete headers[mark];
  return { ...message, headers };
}

/** Adds letters up. */
export class DeadSum implements DeadTotals {
  count = 0;
  bytes = 0;
  oldestMs: number | null = null;
  newestMs: number | null = null;
  readonly queues = new Map<string, number>();
  readonly codes = new Map<string, number>();

  add({ size, parkedAtMs, queue, code }: DeadLetter): void {
    this.count += 1;
    this.bytes += size;
    if (this.oldestMs === null || parkedAtMs < this.oldestMs) this.oldestMs = parkedAtMs;
    if (this.newestMs === null || parkedAtMs > this.newestMs) this.newestMs = parkedAtMs;
    addName(this.queues, queue);
    addName(this.codes, code);
  }
}

/** Writes down how a replay or purge goes. */
export class DeadTally implements DeadReport {
  done = 0;
  readonly missing: string[] = [];
  readonly refused: DeadRefusal[] = [];
  refusedCount = 0;

  /** Somebody else was quicker. Only who asked for it by its id misses it. */
  gone(which: DeadSelection, id: string): void {
    if ('ids' in which) this.missing.push(id);
  }

  refuse(refusal: DeadRefusal): void {
    this.refusedCount += 1;
    if (this.refused.length < MOST_REFUSALS) this.refused.push(refusal);
  }

  refuseGarbage({ id, queue }: DeadLetter): void {
    this.refuse({
      id,
      code: 'E_DECODE',
      message: `dead letter ${id} of queue ${queue} is no message: nothing could read it again. Look at its bytes, then remove it`,
    });
  }
}

function addName(counts: Map<string, number>, name: string): void {
  const key = counts.has(name) || counts.size < MOST_NAMES ? name : '…';
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

function nameOf(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value.slice(0, LONGEST_NAME) : null;
}

/** Headers of our own come from the wire like all others: anything but a count is none. */
function countOf(value: unknown): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : 0;
}
