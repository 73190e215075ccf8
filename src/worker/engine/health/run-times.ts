/**
 * How long the runs of each task take, by queue: counts since the start, and a histogram that remembers the last few thousand
 * runs best. One entry a queue and task name, at most 1,000 entries; what comes after is summed up as `(other)`, one entry a queue.
 * An entry has a fixed size (64 counters), so all of it stays below half a megabyte. Next stop: `findings.ts`.
 */
import type { TaskRunTimes } from '../../../core/worker-report.js';

/** Names a worker keeps apart. */
export const MAX_NAMES = 1_000;
export const OTHER = '(other)';
/** Bucket n holds what took up to SMALLEST_MS * sqrt(2)^n: from 0.1 ms to three and a half days, each to a fifth. */
const SMALLEST_MS = 0.1;
const BUCKETS = 64;
/** At this weight all buckets are halved: what ran long ago fades. */
const FADE_AT = 8_192;

interface Entry {
  runs: number;
  failures: number;
  retries: number;
  totalMs: number;
  maxMs: number;
  lateRuns: number;
  lateMs: number;
  lastMs: number;
  weight: number;
  readonly buckets: Uint32Array;
}

/** How a run ended, as far as it matters here. */
export type RunEnd = 'success' | 'failure' | 'retry' | 'other';

export class RunTimes {
  readonly #queues = new Map<string, Map<string, Entry>>();
  #names = 0;

  /** @param lateMs how late it began, where it had a time to begin at; else `null` */
  add(queue: string, task: string, end: RunEnd, runtimeMs: number, lateMs: number | null): void {
    const entry = this.#entry(queue, task);
    entry.runs += 1;
    if (end === 'failure') entry.failures += 1;
    else if (end === 'retry') entry.retries += 1;
    entry.totalMs += runtimeMs;
    if (runtimeMs > entry.maxMs) entry.maxMs = runtimeMs;
    if (lateMs !== null) {
      entry.lateRuns += 1;
      entry.lateMs += Math.max(lateMs, 0);
    }
    entry.lastMs = performance.now();
    const bucket = bucketOf(runtimeMs);
    entry.buckets[bucket] = (entry.buckets[bucket] as number) + 1;
    entry.weight += 1;
    if (entry.weight >= FADE_AT) fade(entry);
  }

  /** The most time-consuming first. */
  rows(): TaskRunTimes[] {
    const nowMs = performance.now();
    const rows: TaskRunTimes[] = [];
    for (const [queue, tasks] of this.#queues) {
      for (const [task, entry] of tasks) {
        rows.push({
          ...{ queue, task, runs: entry.runs, failures: entry.failures, retries: entry.retries },
          ...{ totalMs: round(entry.totalMs), meanMs: round(entry.totalMs / entry.runs) },
          ...{ p50Ms: quantile(entry, 0.5), p99Ms: quantile(entry, 0.99), maxMs: round(entry.maxMs) },
          lateMeanMs: entry.lateRuns === 0 ? null : round(entry.lateMs / entry.lateRuns),
          idleMs: round(nowMs - entry.lastMs),
        });
      }
    }
    return rows.sort((a, b) => b.totalMs - a.totalMs);
  }

  #entry(queue: string, task: string): Entry {
    let tasks = this.#queues.get(queue);
    if (!tasks) {
      tasks = new Map();
      this.#queues.set(queue, tasks);
    }
    const known = tasks.get(task);
    if (known) return known;
    if (this.#names >= MAX_NAMES && task !== OTHER) return this.#entry(queue, OTHER);
    this.#names += 1;
    const entry: Entry = {
      ...{ runs: 0, failures: 0, retries: 0, totalMs: 0, maxMs: 0, lateRuns: 0, lateMs: 0, lastMs: 0, weight: 0 },
      buckets: new Uint32Array(BUCKETS),
    };
    tasks.set(task, entry);
    return entry;
  }
}

function bucketOf(ms: number): number {
  if (ms <= SMALLEST_MS) return 0;
  return Math.min(Math.ceil(2 * Math.log2(ms / SMALLEST_MS)), BUCKETS - 1);
}

function fade(entry: Entry): void {
  entry.weight = 0;
  for (let index = 0; index < BUCKETS; index++) {
    const half = (entry.buckets[index] as number) >>> 1;
    entry.buckets[index] = half;
    entry.weight += half;
  }
}

function quantile(entry: Entry, share: number): number {
  const rank = Math.max(1, Math.ceil(entry.weight * share));
  let seen = 0;
  for (let index = 0; index < BUCKETS; index++) {
    seen += entry.buckets[index] as number;
    // The middle of the bucket, which no run can have exceeded more than the longest one.
    if (seen >= rank) return round(Math.min(SMALLEST_MS * 2 ** ((index - 0.5) / 2), entry.maxMs));
  }
  return 0;
}

function round(ms: number): number {
  return Math.round(ms * 100) / 100;
}
