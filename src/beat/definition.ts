/**
 * What an entry is, as it stands in the store: its options as people write them, with instants as ISO text, its signature in Celery's
 * form, where it comes from, and since when it is as it is. Pure. Next stop: `entry.ts`.
 */

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

/** @throws ConfigError `E_CONFIG_RANGE` for one that is too large; ArgumentError `E_NOT_SERIALISABLE` */
export function encodeDefinition(definition: Omit<Definition, 'resolved'>, what: string): string {
  const { source, options, signature, sinceMs } = definition;
  const text = JSON.stringify({ source, options, signature: encodeJson(signature, { path: 'signature' }), sinceMs });
  if (Buffer.byteLength(text) <= MOST_DEFINITION_BYTES) return text;
  throw new ConfigError(
    'E_CONFIG_RANGE',
    `${what}: options and arguments have more than ${MOST_DEFINITION_BYTES} bytes: pass ids`,
  );
}

/** @throws ConfigError, WireError for what cannot be read, by a newer version perhaps */
export function decodeDefinition(text: string, what: string): Definition {
  const { source, options: given, signature, sinceMs } = JSON.parse(text) as Record<string, unknown>;
  const options = optionsFromJson(given as Record<string, unknown>);
  return {
    source: source === 'code' ? 'code' : 'store',
    options,
    resolved: resolveScheduleOptions(options, what),
    signature: readSignature(signature),
    sinceMs: Number(sinceMs),
  };
}

/**
 * `overlap: 'skip' | 'queue'` has to know when a run has ended.
 * @param results why nobody can tell, or `true`
 * @throws ConfigError `E_CONFIG_CONFLICT`
 */
export function checkOverlap({ resolved, signature }: Definition, results: true | string, what: string): void {
  const { overlap } = resolved;
  if (overlap === 'allow') return;
  const needs = `${what}: overlap '${overlap}' must know when the run before has ended`;
  if (results !== true) throw new ConfigError('E_CONFIG_CONFLICT', `${needs}, and ${results}`);
  if (kindOf(signature) === 'group')
    throw new ConfigError('E_CONFIG_CONFLICT', `${needs}, and a group has no end of its own: make it a chord`);
  if (signature.options.ignore_result === true)
    throw new ConfigError('E_CONFIG_CONFLICT', `${needs}, and its task ignores results: let it keep them`);
}
