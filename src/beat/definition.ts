/**
 * What an entry is, as it stands in the store: its options as people write them, with instants as ISO text, its signature in Celery's
 * form, where it comes from, and since when it is as it is. Pure. Next stop: `entry.ts`.
 */
import { createHash } from 'node:crypto';
import { readSignature } from '../app/workflows/read-signature.js';
import { kindOf } from '../canvas/shapes.js';
import { ConfigError } from '../core/errors.js';
import { encodeJson } from '../wire/serializers/json.js';
import type { WireSignature } from '../wire/signature.js';
import { MOST_DEFINITION_BYTES } from './beat-store.js';
import type { ResolvedScheduleOptions, ScheduleOptions } from './schedules/index.js';
import { resolveScheduleOptions } from './schedules/index.js';

/** `code`: `app.schedule`, looked after by it. `store`: added by people while schedulers run. */
export type EntrySource = 'code' | 'store';

/** An entry, checked. */
export interface Definition {
  readonly source: EntrySource;
  readonly options: ScheduleOptions;
  readonly resolved: ResolvedScheduleOptions;
  readonly signature: WireSignature;
  /** Its slots count from here on: it was added, its times were changed, or it was resumed. Epoch milliseconds. */
  readonly sinceMs: number;
  /** Its runs under Celery's beat, if it was taken over from there. */
  readonly earlier?: EarlierRuns;
}

/** Runs that nobody here has sent. */
export interface EarlierRuns {
  readonly runs: number;
  /** Epoch milliseconds; `null`: not known. */
  readonly lastMs: number | null;
}

const INSTANTS = ['start', 'end', 'at', 'anchor'] as const;
const LONGEST_ID = 200;

/** @throws ConfigError `E_CONFIG_RANGE` */
export function checkEntryId(id: unknown, what: string): void {
  if (typeof id === 'string' && id !== '' && id.length <= LONGEST_ID && !/\p{Cc}/u.test(id)) return;
  throw new ConfigError(
    'E_CONFIG_RANGE',
    `${what}: the id of an entry has 1 to ${LONGEST_ID} characters, none of them a control character`,
  );
}

/** What `app.schedule` checks when an entry is defined. @throws ConfigError `E_CONFIG_*`, `E_SCHEDULE`, `E_SCHEDULE_NEVER` */
export function checkEntry(id: unknown, options: object): void {
  checkEntryId(id, 'app.schedule()');
  resolveScheduleOptions(options as ScheduleOptions, `schedule ${String(id)}`);
}

/** Options that JSON gave: ISO text in the place of dates. Not checked yet. */
export function optionsFromJson(given: Readonly<Record<string, unknown>>): ScheduleOptions {
  const options: Record<string, unknown> = { ...given };
  for (const name of INSTANTS) {
    const value = options[name];
    if (typeof value === 'string' && value !== 'last-run') options[name] = new Date(value);
  }
  return options as unknown as ScheduleOptions;
}

/** What decides when its slots are; other options may change without slots of the past counting anew. */
function timingOf(options: ScheduleOptions): string {
  const { expires, priority, queue, headers, catchUp, overlap, ...timing } = options;
  return JSON.stringify(Object.entries(timing).sort());
}

export const hasSameTiming = (one: ScheduleOptions, other: ScheduleOptions): boolean => timingOf(one) === timingOf(other);

/** The same for two definitions, as they stand in a store, whose slots are the same. */
export function timingDigest(text: string): string {
  const { options } = JSON.parse(text) as { readonly options: ScheduleOptions };
  return createHash('sha256').update(timingOf(options)).digest('base64url').slice(0, 12);
}

/** A definition, as it stands in a store, whose slots count from another instant. */
export const withSince = (text: string, sinceMs: number): string => JSON.stringify({ ...JSON.parse(text), sinceMs });

/** @throws ConfigError `E_CONFIG_RANGE` for one that is too large; ArgumentError `E_NOT_SERIALISABLE` */
export function encodeDefinition(definition: Omit<Definition, 'resolved'>, what: string): string {
  const { source, options, signature, sinceMs, earlier } = definition;
  const text = JSON.stringify({ source, options, signature: encodeJson(signature, { path: 'signature' }), sinceMs, earlier });
  if (Buffer.byteLength(text) <= MOST_DEFINITION_BYTES) return text;
  throw new ConfigError(
    'E_CONFIG_RANGE',
    `${what}: options and arguments have more than ${MOST_DEFINITION_BYTES} bytes: pass ids`,
  );
}

const isEarlier = (value: unknown): value is EarlierRuns => typeof value === 'object' && value !== null && 'runs' in value;

/** @throws ConfigError, WireError for what cannot be read, by a newer version perhaps */
export function decodeDefinition(text: string, what: string): Definition {
  const definition = decodeTimes(text, what);
  // to find out now
  void definition.signature;
  return definition;
}

/**
 * As `decodeDefinition`, but the signature is read when it is asked for, which throws what is wrong with it: of a hundred thousand entries
 * few are due in the next minute.
 */
export function decodeTimes(text: string, what: string): Definition {
  const { source, options: given, signature, sinceMs, earlier } = JSON.parse(text) as Record<string, unknown>;
  const options = optionsFromJson(given as Record<string, unknown>);
  let read: WireSignature | null = null;
  return {
    source: source === 'code' ? 'code' : 'store',
    options,
    resolved: resolveScheduleOptions(options, what),
    get signature() {
      read ??= readSignature(signature);
      return read;
    },
    sinceMs: Number(sinceMs),
    ...(isEarlier(earlier) && { earlier }),
  };
}

/**
 * `overlap: 'skip' | 'queue'` has to know when a run has ended.
 * @param results why nobody can tell, or `true`
 * @throws ConfigError `E_CONFIG_CONFLICT`
 */
export function checkOverlap(definition: Definition, results: true | string, what: string): void {
  const { overlap } = definition.resolved;
  if (overlap === 'allow') return;
  const { signature } = definition;
  const needs = `${what}: overlap '${overlap}' must know when the run before has ended`;
  if (results !== true) throw new ConfigError('E_CONFIG_CONFLICT', `${needs}, and ${results}`);
  if (kindOf(signature) === 'group')
    throw new ConfigError('E_CONFIG_CONFLICT', `${needs}, and a group has no end of its own: make it a chord`);
  if (signature.options.ignore_result === true)
    throw new ConfigError('E_CONFIG_CONFLICT', `${needs}, and its task ignores results: let it keep them`);
}
