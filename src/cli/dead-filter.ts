/** Which dead letters a command means: flags and ids as a filter or a selection, and how many that are in words. */
import { type Command, Option } from 'commander';
import type { DeadFilter, DeadSelection, DeadTotals } from '../brokers/dead-letters.js';
import { type Duration, durationMs } from '../core/duration.js';
import { UsageError } from './exit-codes.js';
import { duration, named } from './options.js';
import { shorten } from './output.js';

export interface FilterFlags {
  readonly queue?: string;
  readonly task?: string;
  readonly code?: string;
  readonly olderThan?: Duration;
  readonly newerThan?: Duration;
}

export interface SelectionFlags extends FilterFlags {
  readonly all?: boolean;
}

export function addFilterOptions(command: Command): Command {
  return command
    .option('--queue <name>', 'only of this queue', named)
    .option('--task <name>', 'only of this task', named)
    .option('--code <code>', 'only with this error code, for example E_WORKER_LOST', named)
    .addOption(new Option('--older-than <duration>', 'only parked longer ago than this').argParser(duration))
    .addOption(new Option('--newer-than <duration>', 'only parked since then').argParser(duration));
}

export function filterOf({ queue, task, code, olderThan, newerThan }: FilterFlags, nowMs: number): DeadFilter {
  return {
    queue,
    task,
    code,
    parkedBeforeMs: olderThan && nowMs - durationMs(olderThan, '--older-than'),
    parkedAfterMs: newerThan && nowMs - durationMs(newerThan, '--newer-than'),
  };
}

/** @throws UsageError for none of ids, filter and --all, or for two kinds of them */
export function selectionOf(ids: readonly string[], flags: SelectionFlags, verb: string, nowMs: number): DeadSelection {
  const filter = filterOf(flags, nowMs);
  const isFiltered = Object.values(filter).some((condition) => condition !== undefined);
  if (ids.length > 0) {
    if (isFiltered || flags.all) throw new UsageError(`lovage dead ${verb}: give ids, or filters or --all, not both`);
    return { ids };
  }
  if (!isFiltered && !flags.all) {
    throw new UsageError(
      `lovage dead ${verb} needs to know which: ids (lovage dead list shows them), filters such as --queue or --older-than, or --all`,
    );
  }
  return { filter };
}

/** `1 dead letter`, `12 dead letters`. */
export function letters(count: number): string {
  return `${count} dead letter${count === 1 ? '' : 's'}`;
}

const LARGEST_UNITS = ['KiB', 'MiB', 'GiB'] as const;

/** Bytes for people. */
export function sizeText(bytes: number): string {
  let value = bytes;
  let unit: string = 'bytes';
  for (const next of LARGEST_UNITS) {
    if (value < 1_024) break;
    value /= 1_024;
    unit = next;
  }
  return unit === 'bytes' ? `${bytes} bytes` : `${value.toFixed(1)} ${unit}`;
}

const AGES = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
] as const;

/** Time gone by for people, in its largest unit. */
export function ageText(ms: number): string {
  for (const [unit, length] of AGES) if (ms >= length) return `${Math.floor(ms / length)}${unit}`;
  return `${Math.max(0, Math.floor(ms / 1_000))}s`;
}

/** The most frequent names of a sum, `E_DECODE 12, E_WORKER_LOST 3`. */
export function countsText(counts: DeadTotals['codes'], most = 5): string {
  const ordered = [...counts].sort(([, a], [, b]) => b - a);
  const shown = ordered.slice(0, most).map(([name, count]) => `${shorten(name, 60) || "''"} ${count}`);
  if (ordered.length > most) shown.push('…');
  return shown.join(', ');
}
