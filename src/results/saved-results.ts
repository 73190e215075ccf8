/**
 * Saved results of workflows: a part of the result-store seam. What `handle.save()` writes and `app.restore()` reads, as text. Redis has
 * Celery's own place for it (`celery-taskset-meta-<id>`), which Python reads too; every other store keeps it as it keeps results, under
 * an id that no task has. Drivers pass `testing/conformance/saving.ts`.
 */
import { ResultError } from '../core/errors.js';
import type { ResultStore } from './result-store.js';

export interface SavedResult {
  /** Of the group, or of the last task. */
  readonly id: string;
  readonly text: string;
  /** How long it is kept; `null` for ever. */
  readonly ttlMs: number | null;
}

export interface SavedResults {
  /** Takes the place of what was saved under these ids. */
  save(saved: readonly SavedResult[]): Promise<void>;
  /** Texts in order; `null` where nothing is saved. */
  load(ids: readonly string[]): Promise<readonly (string | null)[]>;
  forget(ids: readonly string[]): Promise<void>;
}

/** One call as plain data, so that it can cross from an executor to its engine. */
export type SavedCall =
  | { readonly kind: 'save'; readonly saved: readonly SavedResult[] }
  | { readonly kind: 'load' | 'forget'; readonly ids: readonly string[] };

/** Celery's name of the key. */
export const SAVED_PREFIX = 'celery-taskset-meta-';
/** A state of no task: it is not final, so it can be saved again. */
const SAVED_STATE = 'SAVED';

/** @throws ResultError `E_NOT_SUPPORTED` where nobody else could read it */
export function savedIn(store: ResultStore): SavedResults {
  const { readableByAnyone } = store.capabilities;
  if (readableByAnyone !== true) throw new ResultError('E_NOT_SUPPORTED', `results cannot be saved: ${readableByAnyone}`);
  return store.saved ?? asResults(store);
}

/** Answers of a `load`, nothing otherwise. @throws ResultError `E_NOT_SUPPORTED` */
export async function answerSavedCall(store: ResultStore, call: SavedCall): Promise<readonly (string | null)[]> {
  const saved = savedIn(store);
  if (call.kind === 'load') return saved.load(call.ids);
  await (call.kind === 'save' ? saved.save(call.saved) : saved.forget(call.ids));
  return [];
}

const keyOf = (id: string): string => SAVED_PREFIX + id;

const asResults = (store: ResultStore): SavedResults => ({
  async save(saved) {
    const fixed = { state: SAVED_STATE, epoch: 0, replyTo: null, correlationId: null };
    await store.set(saved.map(({ id, text, ttlMs }) => ({ ...fixed, id: keyOf(id), meta: text, ttlMs })));
  },
  load: (ids) => store.get(ids.map(keyOf)),
  forget: (ids) => store.forget(ids.map(keyOf)),
});
