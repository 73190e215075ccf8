/** How runs end, as the result store tells it: waited for, never asked. Bounded: of more runs than that at once the oldest is not told. */
import { codeOf, toError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import type { ResultStore } from '../results/result-store.js';
import { decodeResultMeta } from '../wire/result-meta.js';
import type { RunNote } from './entry-state.js';

export const MOST_WAITS = 1_000;

export type RunEnd = Pick<RunNote, 'state' | 'endedMs' | 'error'>;

export interface OutcomeOptions {
  readonly results: ResultStore;
  readonly logger: Logger;
  readonly nowMs: () => number;
  readonly onEnd: (entryId: string, taskId: string, end: RunEnd) => void;
}

export class Outcomes {
  readonly #options: OutcomeOptions;
  /** By task, the oldest first. */
  readonly #waits = new Map<string, AbortController>();

  constructor(options: OutcomeOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#waits.size;
  }

  watch(entryId: string, taskId: string): void {
    if (this.#waits.has(taskId)) return;
    if (this.#waits.size >= MOST_WAITS) this.#drop(this.#waits.keys().next().value as string);
    const abort = new AbortController();
    this.#waits.set(taskId, abort);
    const { results, onEnd, nowMs, logger } = this.#options;
    results.wait(taskId, { signal: abort.signal }).then(
      (meta) => {
        this.#waits.delete(taskId);
        if (!abort.signal.aborted) onEnd(entryId, taskId, endIn(meta, nowMs()));
      },
      (error: unknown) => {
        if (this.#waits.get(taskId) === abort) this.#waits.delete(taskId);
        if (!abort.signal.aborted && codeOf(error) !== 'E_CLOSED')
          logger.warn({ entry: entryId, taskId, cause: toError(error).message }, 'beat: how a run ends will not be known');
      },
    );
  }

  /** Nobody here waits any more. */
  clear(): void {
    for (const taskId of [...this.#waits.keys()]) this.#drop(taskId);
  }

  #drop(taskId: string): void {
    this.#waits.get(taskId)?.abort();
    this.#waits.delete(taskId);
  }
}

function endIn(text: string, nowMs: number): RunEnd {
  try {
    const { status, result, dateDone } = decodeResultMeta(text);
    const endedMs = dateDone?.getTime() ?? nowMs;
    return { state: status, endedMs, error: status === 'SUCCESS' ? null : errorIn(result) };
  } catch (error) {
    return { state: 'FAILURE', endedMs: nowMs, error: toError(error).message };
  }
}

function errorIn(result: unknown): string {
  if (typeof result !== 'object' || result === null) return String(result);
  const { exc_type: type, exc_message: message } = result as { readonly exc_type?: unknown; readonly exc_message?: unknown };
  const text = Array.isArray(message) ? message.map(String).join(', ') : String(message ?? '');
  return text === '' ? String(type ?? 'Error') : `${String(type ?? 'Error')}: ${text}`;
}
