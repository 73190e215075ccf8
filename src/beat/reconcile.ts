/**
 * Makes the entries in the store those of the code, by their ids: new ones are added, changed ones keep what was decided of them and
 * whether they are paused, and those that are gone from the code disappear. Entries that people added are left alone.
 */
import type { CodeEntry } from '../app/schedules/schedules.js';
import { ConfigError, codeOf } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import type { BeatStore, EntryChange, EntrySnapshot } from './beat-store.js';
import { checkOverlap, type Definition, decodeDefinition, encodeDefinition, hasSameTiming } from './definition.js';
import { resolveScheduleOptions, type ScheduleOptions } from './schedules/index.js';

export interface ReconcileOptions {
  readonly store: BeatStore;
  readonly entries: readonly CodeEntry[];
  /** Whether ends of runs can be read, or why not. */
  readonly results: true | string;
  readonly nowMs: number;
  readonly logger: Logger;
}

export interface Reconciled {
  /** What was found in the store, before anything was changed. */
  readonly found: EntrySnapshot;
  readonly added: number;
  readonly changed: number;
  readonly removed: number;
}

/**
 * The definitions of the entries in code, their arguments checked.
 * @throws what a schema refuses; ConfigError `E_CONFIG_CONFLICT`, `E_CONFIG_RANGE`
 */
async function definitionsOf({ entries, results, nowMs }: ReconcileOptions): Promise<Map<string, Definition>> {
  const definitions = new Map<string, Definition>();
  for (const { id, options: given, signature, checks } of entries) {
    for (const check of checks) await check();
    const options = given as ScheduleOptions;
    const definition = {
      ...({ source: 'code', options, signature, sinceMs: nowMs } as const),
      resolved: resolveScheduleOptions(options, `schedule ${id}`),
    };
    checkOverlap(definition, results, `schedule ${id}`);
    definitions.set(id, definition);
  }
  return definitions;
}

/** @throws as `definitionsOf`; BrokerError when the store cannot be reached, ConfigError `E_CONFIG_RANGE` when it is full */
export async function reconcile(given: ReconcileOptions): Promise<Reconciled> {
  const { store, nowMs, logger } = given;
  const wanted = await definitionsOf(given);
  const found = await store.load();
  const counts = { added: wanted.size, changed: 0, removed: 0 };
  const changes: EntryChange[] = [];
  for (const { id, revision, paused, definition: text } of found.entries) {
    const definition = wanted.get(id);
    if (definition === undefined) {
      if (!isOfCode(text)) continue;
      counts.removed += 1;
      changes.push({ kind: 'remove', id, expect: revision });
      continue;
    }
    const before = readable(text, id);
    wanted.delete(id);
    counts.added -= 1;
    if (before?.source === 'store')
      logger.warn({ entry: id }, 'beat: the code has an entry of this id now, which takes the place of the added one');
    const sinceMs = before !== null && hasSameTiming(before.options, asStored(definition.options)) ? before.sinceMs : nowMs;
    const next = encodeDefinition({ ...definition, sinceMs }, `schedule ${id}`);
    if (next === text) continue;
    counts.changed += 1;
    changes.push({ kind: 'put', id, definition: next, paused, expect: revision });
  }
  for (const [id, definition] of wanted)
    changes.push({ kind: 'put', id, definition: encodeDefinition(definition, `schedule ${id}`), paused: false, expect: 0 });
  const answers = changes.length === 0 ? [] : await store.change(changes);
  // A conflict is another scheduler that starts with the same code, or somebody who pauses: either way it stands there.
  if (answers.includes('full'))
    throw new ConfigError(
      'E_CONFIG_RANGE',
      `the store of schedules is full: ${store.codeOnly ?? 'remove entries (lovage schedule remove)'}`,
    );
  return { ...counts, found };
}

/** Dates as the store has them, so that they compare. */
const asStored = (options: ScheduleOptions): ScheduleOptions => JSON.parse(JSON.stringify(options)) as ScheduleOptions;

/** Looks no further than it must: a store may have a hundred thousand entries that are none of the code's business. */
function isOfCode(text: string): boolean {
  // as `encodeDefinition` writes them
  if (text.startsWith('{"source":"store",')) return false;
  try {
    return (JSON.parse(text) as { readonly source?: unknown } | null)?.source === 'code';
  } catch {
    return false;
  }
}

function readable(text: string, id: string): Definition | null {
  try {
    return decodeDefinition(text, `schedule ${id}`);
  } catch (error) {
    if (codeOf(error) === undefined && !(error instanceof SyntaxError)) throw error;
    return null;
  }
}
