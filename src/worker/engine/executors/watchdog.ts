/**
 * Finds executors whose loop does not turn: pings those that have tasks, reports a block after two seconds, and says when a
 * task that keeps its loop has run past its hard limit. A task that yields is ended by `executor/limits.ts` over there;
 * what is done about one that does not is `overrun.ts`.
 *
 * Who has nothing to do is not pinged: an idle worker has no timer here.
 */
import type { Logger } from '../../../core/logger.js';
import type { ActiveRun } from '../state.js';
import type { Executors } from './executors.js';

const TICK_MS = 250;
const REPORT_MS = 2_000;
/** A block shorter than this proves nothing, even when a limit passed in it: the loop may just be busy. */
const SUSPECT_MS = 750;
/** What a limit may be late by: the executor's own timer comes first. */
const SLACK_MS = 250;
/** So many names in one line. */
const NAMES = 10;

/** What is known of one executor's loop. */
interface Loop {
  /** When the unanswered ping was sent; `null` = none is out. */
  askedMs: number | null;
  reported: boolean;
  /** How long it was blocked in all, without the present block. */
  blockedMs: number;
}

export interface WatchdogOptions {
  readonly executors: Executors;
  readonly active: ReadonlyMap<number, ActiveRun>;
  readonly logger: Logger;
  /**
   * A task there keeps the loop past a hard limit. `culprit` if it is known which; else it is one of those that are active.
   */
  readonly onOverrun: (executor: number, culprit: ActiveRun | null) => void;
}

export class Watchdog {
  /** Blocks of two seconds and more since the start. */
  blocks = 0;
  readonly #options: WatchdogOptions;
  /** One entry an executor that lives. */
  readonly #loops = new Map<number, Loop>();
  #timer: NodeJS.Timeout | null = null;
  #tickedMs = 0;

  constructor(options: WatchdogOptions) {
    this.#options = options;
  }

  /** Tasks were handed out: watch until all have ended. */
  watch(): void {
    if (this.#timer !== null) return;
    this.#tickedMs = performance.now();
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.#timer.unref();
  }

  /** The executor has answered: its loop turns. */
  pong(index: number): void {
    const loop = this.#loops.get(index);
    if (!loop || loop.askedMs === null) return;
    const blockedMs = performance.now() - loop.askedMs;
    loop.askedMs = null;
    if (blockedMs > SLACK_MS) loop.blockedMs += blockedMs;
    if (!loop.reported) return;
    loop.reported = false;
    this.#options.logger.info({ executor: index, blockedMs: Math.round(blockedMs) }, 'the executor answers again');
  }

  /** The executor is gone. */
  forget(index: number): void {
    this.#loops.delete(index);
  }

  /** How long executors are not answering at this moment, the longest; 0 when all do. */
  longestBlockMs(): number {
    const nowMs = performance.now();
    let longest = 0;
    for (const loop of this.#loops.values()) if (loop.askedMs !== null) longest = Math.max(longest, nowMs - loop.askedMs);
    return longest > SLACK_MS ? longest : 0;
  }

  /** Executors that have not answered for two seconds. */
  blocked(): number {
    const nowMs = performance.now();
    return [...this.#loops.values()].filter(({ askedMs }) => askedMs !== null && nowMs - askedMs >= REPORT_MS).length;
  }

  /** Time for which the loop of this executor has been blocked so far: no task is charged with what others took. */
  blockedMs(index: number): number {
    return this.#loop(index).blockedMs;
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  #loop(index: number): Loop {
    let loop = this.#loops.get(index);
    if (!loop) {
      loop = { askedMs: null, reported: false, blockedMs: 0 };
      this.#loops.set(index, loop);
    }
    return loop;
  }

  #tick(): void {
    const { executors, active } = this.#options;
    const nowMs = performance.now();
    // The whole process stood still (stopped, or the machine slept): nobody could have answered.
    const stoodStillMs = nowMs - this.#tickedMs - TICK_MS;
    this.#tickedMs = nowMs;
    if (active.size === 0) {
      this.close();
      return;
    }
    for (const index of executors.numbers()) {
      const loop = this.#loop(index);
      if (stoodStillMs > TICK_MS && loop.askedMs !== null) loop.askedMs += stoodStillMs;
      if (loop.askedMs === null) {
        if (!executors.isBusy(index)) continue;
        loop.askedMs = nowMs;
        executors.post(index, { type: 'ping' });
      } else this.#judge(index, loop, nowMs - loop.askedMs);
    }
  }

  #judge(index: number, loop: Loop, blockedForMs: number): void {
    const { executors, active, logger, onOverrun } = this.#options;
    if (blockedForMs < SUSPECT_MS) return;
    const runs = [...active.values()].filter((run) => run.executor === index);
    const entered = active.get(executors.entered(index));
    const culprit = runs.length === 1 ? (runs[0] as ActiveRun) : entered?.executor === index ? entered : null;
    if (blockedForMs >= REPORT_MS && !loop.reported) {
      loop.reported = true;
      this.blocks += 1;
      const blocked = { executor: index, blockedMs: Math.round(blockedForMs) };
      if (culprit)
        logger.warn(
          { ...blocked, id: culprit.headers.id, task: culprit.headers.task },
          'a task keeps its executor from answering',
        );
      else {
        const tasks = [...new Set(runs.map(({ headers }) => headers.task))].slice(0, NAMES);
        logger.warn({ ...blocked, tasks, running: runs.length }, 'one of these tasks keeps its executor from answering');
      }
    }
    const nowMs = performance.now();
    const isOver = (run: ActiveRun): boolean =>
      run.timeLimitMs !== null && nowMs - run.startedMs - (loop.blockedMs - run.blockedBeforeMs) > run.timeLimitMs + SLACK_MS;
    if (!(culprit ? isOver(culprit) : runs.some(isOver))) return;
    // asked once: what is done about it replaces the executor
    loop.askedMs = null;
    onOverrun(index, culprit);
  }
}
