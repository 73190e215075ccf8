/**
 * Whether the memory of a process grows with the work it does: what lives in it after a collection, thread by thread
 * (`memory-probe.mjs` writes it), and the slope of such a series. Pure but for reading the file.
 *
 * Resident memory alone cannot tell: V8 lets each thread's young generation grow to 32 MiB when it thinks fit, frees pages when
 * it likes, and malloc keeps what it once had. A slope of a few MiB in ten minutes is in that noise, and so is a leak of ten bytes
 * a task. What lives after a collection is steadier, but knows nothing of memory outside V8; so both are judged, and the
 * process that is judged runs with a small young generation, which is full within seconds. Why so: the decisions page on soaks.
 */
import { readFileSync } from 'node:fs';

const PROBE = new URL('./memory-probe.mjs', import.meta.url);
const MIB = 1_048_576;
const EVERY_MS = 10_000;
const MINUTE_MS = 60_000;

/** One value of a series. */
export interface Reading {
  readonly atMs: number;
  readonly value: number;
}

/** What the threads of a process hold, in all. */
export interface Memory {
  /** MiB that live in the heaps, and outside them for their sake, such as buffers. */
  readonly living: readonly Reading[];
  /** Timers, sockets and requests that keep a loop alive. */
  readonly resources: readonly Reading[];
  /** Resident memory in MiB: the least that any thread saw, right after it had collected its garbage. */
  readonly resident: readonly Reading[];
}

/** Flags of Node that make a process write its readings to this file. */
export function probedBy(file: string, everyMs = EVERY_MS): string[] {
  const query = new URLSearchParams({ file, everyMs: String(everyMs) });
  return ['--expose-gc', '--max-semi-space-size=1', '--import', `${PROBE}?${query}`];
}

/** Reads what the probes have written: for each whole span of time the least of each thread, summed up over the threads. */
export function readMemory(file: string, spanMs = MINUTE_MS): Memory {
  const living = new Map<string, Reading[]>();
  const resources = new Map<string, Reading[]>();
  const resident: Reading[] = [];
  const lines = readFileSync(file, 'utf8').split('\n');
  for (const line of lines.slice(0, -1)) {
    const [thread = '', at, bytes, count, rss] = line.split(' ');
    push(living, thread, { atMs: Number(at), value: Number(bytes) / MIB });
    push(resources, thread, { atMs: Number(at), value: Number(count) });
    resident.push({ atMs: Number(at), value: Number(rss) / MIB });
  }
  return {
    living: sums(living, spanMs),
    resources: sums(resources, spanMs),
    resident: sums(new Map([['all', resident]]), spanMs),
  };
}

/** The least of each span of time: what is there always, not what happened to be there at a moment. */
export function floors(readings: readonly Reading[], spanMs = MINUTE_MS): Reading[] {
  const bySpan = new Map<number, Reading>();
  for (const one of readings) {
    const span = Math.floor(one.atMs / spanMs);
    const least = bySpan.get(span);
    if (!least || one.value < least.value) bySpan.set(span, one);
  }
  return [...bySpan.values()];
}

/** How much a series rises in ten minutes. */
export interface Growth {
  /** The median of the slopes between all pairs of readings (Theil and Sen). */
  readonly likely: number;
  /** The lower end of what its scatter allows, with one chance in twenty that it is less (Sen). */
  readonly certain: number;
}

/**
 * How much a series rises in ten minutes. A dip or a spike changes nothing, nor does a single step early or late; what goes on
 * rising does. `NaN` for fewer than five readings, which say nothing.
 */
export function growth(readings: readonly Reading[]): Growth {
  const count = readings.length;
  if (count < 5) return { likely: Number.NaN, certain: Number.NaN };
  const slopes: number[] = [];
  readings.forEach((later, index) => {
    for (const earlier of readings.slice(0, index)) slopes.push((later.value - earlier.value) / (later.atMs - earlier.atMs));
  });
  slopes.sort((a, b) => a - b);
  // Kendall: how far the rank of a slope may be from the middle if there is only scatter.
  const doubt = 1.645 * Math.sqrt((count * (count - 1) * (2 * count + 5)) / 18);
  const lower = slopes[Math.floor((slopes.length - doubt) / 2)] ?? Number.NaN;
  return { likely: median(slopes) * 10 * MINUTE_MS, certain: lower * 10 * MINUTE_MS };
}

/** The series without its beginning, in which code is compiled and caches fill. */
export function warm(readings: readonly Reading[], share: number): Reading[] {
  const [first] = readings;
  const last = readings.at(-1);
  if (!first || !last) return [];
  const fromMs = first.atMs + (last.atMs - first.atMs) * share;
  return readings.filter(({ atMs }) => atMs >= fromMs);
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  if (sorted.length % 2 === 1) return sorted[Math.floor(middle)] as number;
  return ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2;
}

function push(series: Map<string, Reading[]>, thread: string, reading: Reading): void {
  const known = series.get(thread);
  if (known) known.push(reading);
  else series.set(thread, [reading]);
}

function sums(threads: ReadonlyMap<string, readonly Reading[]>, spanMs: number): Reading[] {
  const bySpan = new Map<number, number>();
  for (const readings of threads.values()) {
    for (const { atMs, value } of floors(readings, spanMs)) {
      const span = Math.floor(atMs / spanMs);
      bySpan.set(span, (bySpan.get(span) ?? 0) + value);
    }
  }
  const sorted = [...bySpan].sort(([a], [b]) => a - b).map(([span, value]) => ({ atMs: span * spanMs, value }));
  // In the first span and the last not every thread need have had its turn.
  return sorted.slice(1, -1);
}
