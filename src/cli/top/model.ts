/**
 * What `lovage top` shows, as values: workers, rates, running and slow tasks, queues. Made of events (`events/cluster-state.ts`)
 * and of what the broker says of its queues. Pure: times come in. How it looks is `screen.ts`.
 */
import type { QueueDepth } from '../../brokers/broker.js';
import type { ClusterState } from '../../events/cluster-state.js';

/** Rates are those of about this time. */
const RATE_MS = 10_000;
/** Samples kept for rates: more than come in `RATE_MS` at the shortest interval. */
const MAX_SAMPLES = 100;
/** Queues whose first message is remembered. */
const MAX_HEADS = 1_000;

export interface TopQueue extends QueueDepth {
  /** Milliseconds that its next message has waited at least, as far as was watched; `null`: the queue is empty, or the broker cannot show it. */
  readonly oldestMs: number | null;
}

export interface TopSnapshot {
  /** Wall milliseconds. */
  readonly atMs: number;
  /** For how long events have been heard. */
  readonly watchedMs: number;
  readonly workers: readonly {
    readonly name: string;
    readonly alive: boolean;
    readonly active: number | null;
    readonly processed: number | null;
    readonly load: number | null;
    readonly software: string | null;
    readonly droppedEvents: number;
    readonly silentMs: number;
  }[];
  /** A second, over the last ten or so. */
  readonly rates: { readonly received: number; readonly succeeded: number; readonly failed: number; readonly retried: number };
  /** Those that run, the longest running first. */
  readonly running: readonly {
    readonly id: string;
    readonly name: string | null;
    readonly worker: string | null;
    readonly args: string | null;
    readonly forMs: number;
  }[];
  readonly runningCount: number;
  /** Task names, the most time-consuming first. */
  readonly tasks: readonly {
    readonly name: string;
    readonly runs: number;
    readonly failed: number;
    readonly retried: number;
    readonly meanMs: number;
    readonly longestMs: number;
  }[];
  readonly queues: readonly TopQueue[];
  /** Events that this command could not take in in time. */
  readonly droppedEvents: number;
}

interface Sample {
  readonly atMs: number;
  readonly received: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly retried: number;
}

/** How fast each thing happens, from totals at different times. */
export class Rates {
  /** Oldest first; bounded by `MAX_SAMPLES`. */
  #samples: Sample[] = [];

  /** Takes the totals of this moment and says how many there were a second of late. */
  next({ totals }: ClusterState, atMs: number): TopSnapshot['rates'] {
    const { received, succeeded, failed, retried } = totals;
    const now: Sample = { atMs, received, succeeded, failed, retried };
    const recent = this.#samples.filter((sample) => atMs - sample.atMs <= RATE_MS);
    const first = recent[0] ?? this.#samples.at(-1) ?? now;
    this.#samples = [...recent, now].slice(-MAX_SAMPLES);
    const seconds = (atMs - first.atMs) / 1_000;
    const rate = (from: number, to: number): number => (seconds > 0 ? Math.max(0, to - from) / seconds : 0);
    return {
      received: rate(first.received, received),
      succeeded: rate(first.succeeded, succeeded),
      failed: rate(first.failed, failed),
      retried: rate(first.retried, retried),
    };
  }
}

/** Since when the message at the head of each queue has been seen there: no broker tells how old it is. */
export class QueueHeads {
  /** Bounded by `MAX_HEADS`. */
  readonly #heads = new Map<string, { readonly id: string; readonly sinceMs: number }>();

  /** @param id of the next message; `null`: there is none @param sentAtMs when it was sent, where an event told */
  see(queue: string, id: string | null, sentAtMs: number | null, nowMs: number): number | null {
    if (id === null) {
      this.#heads.delete(queue);
      return null;
    }
    const known = this.#heads.get(queue);
    const sinceMs = Math.min(known?.id === id ? known.sinceMs : nowMs, sentAtMs ?? nowMs);
    if (known || this.#heads.size < MAX_HEADS) this.#heads.set(queue, { id, sinceMs });
    return Math.max(0, nowMs - sinceMs);
  }
}

export interface SnapshotParts {
  readonly state: ClusterState;
  readonly rates: TopSnapshot['rates'];
  readonly queues: readonly TopQueue[];
  readonly droppedEvents: number;
  readonly startedMs: number;
  readonly nowMs: number;
  /** How many tasks at most, running and by name. */
  readonly limit: number;
}

export function snapshot({ state, rates, queues, droppedEvents, startedMs, nowMs, limit }: SnapshotParts): TopSnapshot {
  state.expire(nowMs);
  const workers = state.workers();
  const alive = new Set(workers.filter((worker) => worker.alive).map(({ name }) => name));
  // What a dead worker ran runs no more, though no event says so.
  const running = state.running().filter(({ worker }) => worker !== null && alive.has(worker));
  return {
    atMs: nowMs,
    watchedMs: nowMs - startedMs,
    workers: workers.map((worker) => ({
      name: worker.name,
      alive: worker.alive,
      active: worker.active,
      processed: worker.processed,
      load: worker.loadavg?.[0] ?? null,
      software: worker.software,
      droppedEvents: worker.droppedEvents,
      silentMs: Math.max(0, nowMs - worker.lastSeenMs),
    })),
    rates,
    running: running.slice(0, limit).map((task) => ({
      ...{ id: task.id, name: task.name, worker: task.worker, args: task.args },
      forMs: Math.max(0, nowMs - (task.startedAtMs ?? nowMs)),
    })),
    runningCount: running.length,
    tasks: state
      .names()
      .slice(0, limit)
      .map(({ name, succeeded, failed, retried, runtimeMs, longestMs }) => ({
        ...{ name, runs: succeeded + failed, failed, retried, longestMs },
        meanMs: succeeded > 0 ? runtimeMs / succeeded : 0,
      })),
    queues,
    droppedEvents,
  };
}
