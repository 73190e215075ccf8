/**
 * REVOKED for tasks of which this worker hears that somebody has revoked them who stores nothing himself: a Python client. As
 * Celery's workers do it since 5.6.1, also for tasks that they never see; but not over what has begun, here or by its result.
 * Next stop: `results/revoked-results.ts`.
 */
import { REVOKE_STEP } from '../../../brokers/revocations.js';
import { sleep } from '../../../core/clock.js';
import { toError } from '../../../core/errors.js';
import type { Logger } from '../../../core/logger.js';
import type { ResultStore, ResultWrite } from '../../../results/result-store.js';
import { storeRevoked } from '../../../results/revoked-results.js';
import type { ExecutorHello } from '../../port.js';
import type { ActiveRun } from '../state.js';

/** A store that is away keeps no command: the worker that drops the task stores it then. */
const LONGEST_MS = 5_000;

export interface HeardOptions {
  readonly store: ResultStore;
  readonly hello: Pick<ExecutorHello, 'resultTtlMs'>;
  readonly active: ReadonlyMap<number, ActiveRun>;
  readonly logger: Logger;
}

/** Resolves once it is stored, or after a few seconds. Never rejects. */
export async function storeHeard(ids: readonly string[], { store, hello, active, logger }: HeardOptions): Promise<void> {
  // Only the reply queue of its sender would do, and that is in a message that nobody has seen.
  if (store.capabilities.readableByAnyone !== true) return;
  const begun = new Set([...active.values()].map(({ headers }) => headers.id));
  const left = ids.filter((id) => !begun.has(id));
  const to = {
    store: {
      getResults: (asked: readonly string[]) => store.get(asked),
      storeResults: async (writes: readonly ResultWrite[]) => void (await store.set(writes)),
    },
    resultTtlMs: hello.resultTtlMs,
    nowMs: Date.now,
  };
  const end = new AbortController();
  const work = async (): Promise<void> => {
    for (let from = 0; from < left.length && !end.signal.aborted; from += REVOKE_STEP)
      await storeRevoked(left.slice(from, from + REVOKE_STEP), to);
  };
  const late = sleep(LONGEST_MS, end.signal).then(() => Promise.reject(new Error('the result store did not answer in time')));
  try {
    await Promise.race([work(), late]);
  } catch (error) {
    logger.warn({ tasks: left.length, error: toError(error).message }, 'REVOKED could not be stored for revoked tasks');
  } finally {
    end.abort();
    late.catch(() => undefined);
  }
}
