/**
 * `celery.chord_unlock`: how Celery's clients join a chord where their result backend cannot count (files, databases). It looks for
 * the results of the header now and then, and sends the body when all are there. Ours does so for as long as a day, less and less
 * often, and then ends the chord; Celery's has no limit of its own. Source: wire section 6.7.
 */
import { ArgumentError } from '../../core/errors.js';
import type { KeptEnd, UncountedChord } from '../../results/chords.js';
import { FINAL_STATES } from '../../results/result-store.js';
import { decodeResultMeta } from '../../wire/result-meta.js';
import { encodeJson } from '../../wire/serializers/json.js';
import { parseSignature } from '../../wire/signature.js';
import type { ResolvedRetryPolicy, TaskDefinition } from '../definition.js';
import type { TaskContext } from '../task-context.js';

/** What it needs of the engine. */
export interface UnlockPlace {
  getResults(ids: readonly string[]): Promise<readonly (string | null)[]>;
  endChord(chord: UncountedChord): Promise<void>;
}

const FIRST_MS = 1_000;
const LONGEST_MS = 30_000;
/** With the waits above a day, which is how long results are kept. */
const MOST_LOOKS = 2_900;

export const UNLOCK_RETRY: ResolvedRetryPolicy = Object.freeze({
  ...{ max: MOST_LOOKS, backoff: 'fixed', baseMs: FIRST_MS, capMs: LONGEST_MS, jitter: 'none' },
  isRetryable: () => false,
});

export const chordUnlock =
  (place: UnlockPlace): TaskDefinition['execute'] =>
  async (args, kwargs, context) => {
    const [groupId, callback] = args;
    if (typeof groupId !== 'string')
      throw new ArgumentError('E_ARGUMENTS', 'celery.chord_unlock: the first argument is no group id');
    const body = encodeJson(parseSignature(callback, 'celery.chord_unlock: the body'));
    const ids = idsIn(kwargs['result']);
    const parent = { id: context.id, rootId: context.rootId };
    const metas = (await place.getResults(ids)).map((meta) => (meta === null ? null : decodeResultMeta(meta)));
    const ends = metas.flatMap((meta, index): KeptEnd[] =>
      meta !== null && FINAL_STATES.has(meta.status)
        ? [{ taskId: ids[index] as string, state: meta.status, resultJson: encodeJson(meta.result) }]
        : [],
    );
    // one that failed decides, whatever the others come to
    if (ends.length === ids.length || ends.some(({ state }) => state !== 'SUCCESS'))
      return void (await place.endChord({ groupId, body, ends, parent }));
    if (context.attempt > mostLooks(kwargs['max_retries']))
      return void (await place.endChord({ groupId, body, ends: null, parent }));
    throw again(context, kwargs['interval']);
  };

const mostLooks = (given: unknown): number => (typeof given === 'number' ? Math.min(given, MOST_LOOKS) : MOST_LOOKS);

function again(context: TaskContext, interval: unknown): Error {
  const asked = typeof interval === 'number' && interval > 0 ? interval * 1_000 : FIRST_MS;
  const waitMs = Math.min(Math.max(asked, asked * context.attempt * 0.1), Math.max(asked, LONGEST_MS));
  return context.retry({ in: `${Math.ceil(waitMs)}ms` });
}

/** Ids of results as Celery writes them: `[[id, parent], children]`; what else stands there has no result to look for. */
function idsIn(results: unknown): string[] {
  if (!Array.isArray(results)) throw new ArgumentError('E_ARGUMENTS', 'celery.chord_unlock: result is no array');
  return results.map((tuple: unknown) => {
    const [own] = Array.isArray(tuple) ? (tuple as unknown[]) : [];
    const id: unknown = Array.isArray(own) ? own[0] : own;
    if (typeof id === 'string' && id !== '') return id;
    throw new ArgumentError('E_ARGUMENTS', 'celery.chord_unlock: a result has no id');
  });
}
