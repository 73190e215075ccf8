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

type SecureOptions = Pick<IntakeOptions, 'consumer' | 'counters' | 'settler' | 'logger' | 'clock'>;

/** Resolves with the run as it may start, or with `null` if it will not: then its credit and its place alone are to be given back. */
export async function prepare(run: ActiveRun, claim: boolean, options: IntakeOptions): Promise<ActiveRun | null> {
  const { headers } = run;
  let claimed: ActiveRun;
  try {
    const inStore = claim && !run.facts.ignoreResult && !headers.ignoreResult ? await claimInStore(run, options) : run;
    if (inStore === null) return null;
    claimed = inStore;
    if (run.facts.ack === 'early') return (await ackEarly(run, options)) ? { ...claimed, settled: true } : null;
  } catch (error) {
    if (codeOf(error) === 'E_KEY_TYPE') parkUnclaimable(run, toError(error), options);
    else putBack(run, error, options);
    return null;
  }
  // One alone may wait long for an executor of its own, and a death of the worker meanwhile would count though nothing has begun.
  const giveUp = claimed.alone ? null : await secure(claimed, options);
  giveUp?.();
  return giveUp === null ? claimed : null;
}

/** The last step before a run alone starts, when its executor is empty: `null` = nothing is to be done, false = it has been given up. */
export function beforeAlone(run: ActiveRun, options: IntakeOptions): Promise<boolean> | null {
  if (!mustSecure(run)) return null;
  const { executors, active, grant } = options;
  return secure(run, options).then((giveUp) => {
    // Unless somebody has taken it back meanwhile: a revoke, a stop.
    if (giveUp !== null && executors.withdraw(run)) {
      giveUp();
      active.delete(run.run);
      grant(run.delivery.queue);
    }
    return giveUp === null;
  });
}

/** What may have to be counted is secured just before it starts. `null`: done; else what settles it instead. Never rejects. */
async function secure(run: ActiveRun, options: SecureOptions): Promise<(() => void) | null> {
  if (!mustSecure(run)) return null;
  try {
    // That may take seconds, in which it may be lost or the worker be told to stop.
    if (await options.consumer().secure(run.delivery)) return null;
    return () => handBackUnstarted([run], options);
  } catch (error) {
    return () => putBack(run, error, options);
  }
}

const mustSecure = ({ delivery, settled }: ActiveRun): boolean => !settled && (delivery.redelivered || lossesOf(delivery) > 0);

/** The store or broker is away: the message goes back and is tried again once they answer. */
function putBack({ delivery, headers }: ActiveRun, error: unknown, { logger, settler, clock }: SecureOptions): void {
  logger.warn({ id: headers.id, task: headers.task, error: toError(error).message }, 'could not be claimed; put back');
  settler.withoutResult({ kind: 'defer', arrival: delivery, untilMs: clock.nowMs() + AWAY_AGAIN_MS });
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
