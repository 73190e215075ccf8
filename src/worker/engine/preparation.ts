/**
 * What must happen before some runs may start: the claims of a redelivered one, in store and broker, and the ack of an early one.
 * What does not come to a start is settled here. Called by `consumer.ts`.
 */
import { codeOf, toError } from '../../core/errors.js';
import { lossesOf } from './admission.js';
import type { IntakeOptions } from './consumer.js';
import type { ActiveRun } from './state.js';

/** What cannot be judged or claimed now, because the broker or store is away, is tried again after so long. */
export const AWAY_AGAIN_MS = 1_000;

/** Resolves with the run as it may start, or with `null` if it will not: then its credit and its place alone are to be given back. */
export async function prepare(run: ActiveRun, claim: boolean, options: IntakeOptions): Promise<ActiveRun | null> {
  const { logger, settler } = options;
  const { delivery, headers } = run;
  try {
    const claimed = claim && !run.facts.ignoreResult && !headers.ignoreResult ? await claimInStore(run, options) : run;
    if (claimed === null) return null;
    if (run.facts.ack === 'early') return (await ackEarly(run, options)) ? { ...claimed, settled: true } : null;
    // That may take seconds, in which it may be lost or the worker be told to stop.
    const mustSecure = delivery.redelivered || lossesOf(delivery) > 0;
    if (!mustSecure || (await options.consumer().secure(delivery))) return claimed;
    handBackUnstarted([run], options);
  } catch (error) {
    if (codeOf(error) === 'E_KEY_TYPE') parkUnclaimable(run, toError(error), options);
    else {
      // The store or broker is away: the message goes back and is tried again once they answer.
      logger.warn({ id: headers.id, task: headers.task, error: toError(error).message }, 'could not be claimed; put back');
      settler.withoutResult({ kind: 'defer', arrival: delivery, untilMs: options.clock.nowMs() + AWAY_AGAIN_MS });
    }
  }
  return null;
}

/**
 * What this worker has and will not start, because it stops, goes back at once: kept until the end of the grace it would be late by as
 * much. What has been lost meanwhile is somebody else's.
 */
export function handBackUnstarted(
  runs: readonly Pick<ActiveRun, 'delivery'>[],
  { consumer, counters, settler }: Pick<IntakeOptions, 'consumer' | 'counters' | 'settler'>,
): void {
  for (const { delivery } of runs) {
    if (!consumer().holds(delivery.tag)) continue;
    counters.handedBack += 1;
    settler.withoutResult({ kind: 'requeue', arrival: delivery, where: 'front' });
  }
}

async function claimInStore(
  run: ActiveRun,
  { store, counters, settler, claimTtlMs, logger }: IntakeOptions,
): Promise<ActiveRun | null> {
  const { delivery, headers, message } = run;
  const claimed = await store.claim(headers.id, { ttlMs: claimTtlMs });
  if (!('final' in claimed)) return { ...run, epoch: claimed.epoch };
  counters.duplicates += 1;
  logger.info({ id: headers.id, task: headers.task }, 'delivered again, but its result is final: dropped');
  const final = { headers, message, redelivered: delivery.redelivered };
  settler.finalAlready(final, claimed.final, { kind: 'ack', arrival: delivery });
  return null;
}

async function ackEarly({ delivery }: ActiveRun, { consumer }: IntakeOptions): Promise<boolean> {
  const [held] = await consumer().settle([{ kind: 'ack', arrival: delivery }]);
  return held === 'held';
}

/** Time does not mend it: put back, it would come again for ever. */
function parkUnclaimable(run: ActiveRun, { message }: Error, { settler, counters, taskLog }: IntakeOptions): void {
  counters.parked += 1;
  taskLog.parked(run.delivery.queue, run.headers, 'E_KEY_TYPE', message);
  settler.withoutResult({ kind: 'park', arrival: run.delivery, reason: { code: 'E_KEY_TYPE', reason: message } });
}
