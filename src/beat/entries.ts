/**
 * Entries for people: looked at, added, edited, paused, run now and removed while schedulers run, which hear of it at once. What
 * `lovage schedule` does; its words and tables are `cli/commands/schedule.ts`.
 */
import { randomUUID } from 'node:crypto';
import { BrokerError, ConfigError, toError } from '../core/errors.js';
import type { WireSignature } from '../wire/signature.js';
import type { BeatStore, ChangeAnswer, EntryChange, EntryRecord } from './beat-store.js';
import {
  checkEntryId,
  type Definition,
  decodeDefinition,
  type EarlierRuns,
  encodeDefinition,
  hasSameTiming,
} from './definition.js';
import { decodeState, type EntryState } from './entry-state.js';
import { requestedTaskId } from './messages.js';
import { dueMs, nextSlot, resolveScheduleOptions, type ScheduleOptions } from './schedules/index.js';

/** An entry as it stands in the store. */
export interface Entry {
  readonly id: string;
  readonly paused: boolean;
  /** `null`: it cannot be read, and `problem` says why. */
  readonly definition: Definition | null;
  readonly problem: string | null;
  readonly state: EntryState;
  /** When its next slot runs, jitter included; `null`: paused, over, or held back by the run before. */
  readonly nextMs: number | null;
}

export interface NewEntry {
  readonly id: string;
  readonly options: ScheduleOptions;
  readonly signature: WireSignature;
  /** @defaultValue false */
  readonly paused?: boolean;
  /** Its slots count from here on, epoch milliseconds. @defaultValue now */
  readonly sinceMs?: number;
  readonly earlier?: EarlierRuns;
}

/** Somebody else edits the same entry at the same moment: rarely once, never so often. */
const MOST_TRIES = 5;

const missing = (id: string): ConfigError =>
  new ConfigError(
    'E_SCHEDULE_MISSING',
    `there is no schedule entry ${JSON.stringify(id)}: lovage schedule list shows all of this app`,
  );

function entryOf({ id, paused, definition: text, state: stateText }: EntryRecord, nowMs: number): Entry {
  const state = decodeState(stateText);
  try {
    const definition = decodeDefinition(text, `schedule ${id}`);
    const { schedule } = definition.resolved;
    const cursorMs = Math.max(state.cursorMs ?? definition.sinceMs, definition.sinceMs);
    const slot = paused ? undefined : nextSlot(schedule, schedule.kind === 'interval' ? cursorMs : Math.max(cursorMs, nowMs));
    return { id, paused, definition, problem: null, state, nextMs: slot === undefined ? null : dueMs(schedule, id, slot) };
  } catch (error) {
    return { id, paused, definition: null, problem: toError(error).message, state, nextMs: null };
  }
}

/** All entries, by id. */
export async function listEntries(store: BeatStore, nowMs: number): Promise<Entry[]> {
  const { entries } = await store.load();
  return entries.map((record) => entryOf(record, nowMs)).sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** @throws ConfigError `E_SCHEDULE_MISSING` */
export async function getEntry(store: BeatStore, id: string, nowMs: number): Promise<Entry> {
  const record = await store.get(id);
  if (record === null) throw missing(id);
  return entryOf(record, nowMs);
}

/** @throws BrokerError `E_BROKER_FULL` */
function refuseFull(answers: readonly ChangeAnswer[]): void {
  if (!answers.includes('full')) return;
  throw new BrokerError(
    'E_BROKER_FULL',
    'the store of schedules has no room for more: remove entries, or start a scheduler that answers what waits',
  );
}

/**
 * The change that adds an entry, which is checked by that.
 * @throws ConfigError `E_CONFIG_*`, `E_SCHEDULE*`; ArgumentError `E_NOT_SERIALISABLE`
 */
export function additionOf({ id, options, signature, paused = false, sinceMs, earlier }: NewEntry, nowMs: number): EntryChange {
  checkEntryId(id, 'schedule');
  resolveScheduleOptions(options, `schedule ${id}`);
  const whole = { ...({ source: 'store', options, signature, sinceMs: sinceMs ?? nowMs } as const), ...(earlier && { earlier }) };
  return { kind: 'put', id, definition: encodeDefinition(whole, `schedule ${id}`), paused, expect: 0 };
}

/**
 * @returns ids that were there already, and stay as they are
 * @throws ConfigError `E_CONFIG_*`, `E_SCHEDULE*`; BrokerError `E_BROKER_FULL`
 */
export async function addEntries(store: BeatStore, entries: readonly NewEntry[], nowMs: number): Promise<readonly string[]> {
  const changes = entries.map((entry) => additionOf(entry, nowMs));
  const answers = await store.change(changes);
  refuseFull(answers);
  return entries.flatMap(({ id }, index) => (answers[index] === 'conflict' ? [id] : []));
}

/** What an edit makes of an entry. */
interface Edited {
  readonly options?: ScheduleOptions;
  readonly signature?: WireSignature;
  readonly paused?: boolean;
}

/** @throws ConfigError `E_SCHEDULE_MISSING`, and what `edit` throws */
async function change(store: BeatStore, id: string, nowMs: number, edit: (definition: Definition) => Edited): Promise<void> {
  for (let tries = 1; tries <= MOST_TRIES; tries += 1) {
    const record = await store.get(id);
    if (record === null) throw missing(id);
    const definition = decodeDefinition(record.definition, `schedule ${id}`);
    const { options = definition.options, signature = definition.signature, paused = record.paused } = edit(definition);
    resolveScheduleOptions(options, `schedule ${id}`);
    // What lay in a pause, or before other times held, was not missed.
    const isNew = (record.paused && !paused) || !hasSameTiming(options, definition.options);
    const edited = { ...definition, options, signature, sinceMs: isNew ? nowMs : definition.sinceMs };
    const text = encodeDefinition(edited, `schedule ${id}`);
    const [answer] = await store.change([{ kind: 'put', id, definition: text, paused, expect: record.revision }]);
    if (answer === 'done') return;
  }
  throw new ConfigError('E_SCHEDULE_TAKEN', `schedule entry ${JSON.stringify(id)} is being changed by somebody else: try again`);
}

/** @throws ConfigError `E_SCHEDULE_MISSING`, `E_SCHEDULE_TAKEN` for an entry of the code, `E_CONFIG_*`, `E_SCHEDULE*` */
export function editEntry(
  store: BeatStore,
  id: string,
  nowMs: number,
  edit: (definition: Definition) => Pick<Edited, 'options' | 'signature'>,
): Promise<void> {
  return change(store, id, nowMs, (definition) => {
    refuseCode(id, definition, 'edited');
    return edit(definition);
  });
}

/** @throws ConfigError `E_SCHEDULE_MISSING` */
export function setPaused(store: BeatStore, id: string, paused: boolean, nowMs: number): Promise<void> {
  return change(store, id, nowMs, () => ({ paused }));
}

/**
 * Wishes that the entry runs now, beside its slots; also while it is paused. A scheduler that leads does it at once, else the next one.
 * @returns the id that its task will have; of a chain or chord, that of the first of its tasks
 * @throws ConfigError `E_SCHEDULE_MISSING`; BrokerError `E_BROKER_FULL`
 */
export async function requestRun(store: BeatStore, id: string): Promise<string> {
  const request = randomUUID();
  const answers = await store.change([{ kind: 'run', id, request }]);
  refuseFull(answers);
  if (answers[0] === 'missing') throw missing(id);
  return requestedTaskId(id, request);
}

/** @throws ConfigError `E_SCHEDULE_MISSING`, `E_SCHEDULE_TAKEN` for an entry of the code */
export async function removeEntry(store: BeatStore, id: string): Promise<void> {
  const entry = await getEntry(store, id, 0);
  if (entry.definition !== null) refuseCode(id, entry.definition, 'removed');
  const [answer] = await store.change([{ kind: 'remove', id }]);
  if (answer === 'missing') throw missing(id);
}

function refuseCode(id: string, { source }: Definition, what: string): void {
  if (source !== 'code') return;
  const message = `schedule entry ${JSON.stringify(id)} is defined by app.schedule() and is ${what} there; lovage schedule pause, resume and run work here`;
  throw new ConfigError('E_SCHEDULE_TAKEN', message);
}
