/**
 * Replaying dead letters with their results in mind. Parking a task has stored a FAILURE for it, which is final: a worker
 * that claims the replayed message would find it and drop the message as a duplicate. So that FAILURE is forgotten first, and with it
 * that of the steps behind it, which had it from there: they follow when the replayed step succeeds.
 * A SUCCESS is left alone: that task has run after all, and the worker is right to drop it.
 */
import type { Broker } from '../brokers/broker.js';
import type { DeadReport, DeadSelection, ReplayOptions } from '../brokers/dead-letters.js';
import { idsBehind } from '../canvas/after.js';
import { decodeResultMeta } from '../wire/result-meta.js';
import type { Gateway } from './gateway.js';

/** Where results are kept; `null` = nowhere that anyone could read (`rpc:`). */
type Results = Pick<Gateway, 'getResults' | 'forgetResults'> | null;

/** As `DeadLetters.replay`. Rejects before anything was moved when the result store cannot be reached. */
export function replayDeadLetters(
  { deadLetters }: Broker,
  results: Results,
  which: DeadSelection,
  options: ReplayOptions,
): Promise<DeadReport> {
  if (results === null) return deadLetters.replay(which, options);
  return deadLetters.replay(which, {
    ...options,
    beforeStep: async (letters, messages) => {
      await options.beforeStep?.(letters, messages);
      const ids = letters.flatMap(({ taskId }) => taskId ?? []);
      await forgetFailures(results, [...new Set([...ids, ...messages.flatMap(idsBehind)])]);
    },
  });
}

async function forgetFailures(results: NonNullable<Results>, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  const metas = await results.getResults(ids);
  const failed = ids.filter((_, index) => isFailure(metas[index] ?? null));
  if (failed.length > 0) await results.forgetResults(failed);
}

function isFailure(meta: string | null): boolean {
  if (meta === null) return false;
  try {
    const { status } = decodeResultMeta(meta);
    return status === 'FAILURE' || status === 'REVOKED';
  } catch {
    return false; // not ours to judge, and no worker takes it for an end
  }
}
