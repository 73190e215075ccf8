/**
 * Revoking: the one way, for handles, `app.control` and the command line. Removes what waits and can be found, records the
 * rest for workers that get it later, tells all workers that live, and stores REVOKED, so that nobody waits on. The steps are
 * the gateway's, so it works inside tasks too. Next stop: `brokers/revocations.ts`.
 */
import { KEPT_AFTER_ETA_MS, LEAST_KEPT_MS, REVOKE_STEP } from '../../brokers/revocations.js';
import { idsBehind, partsIn } from '../../canvas/after.js';
import { takesOutcomes } from '../../canvas/outcomes.js';
import { ConfigError } from '../../core/errors.js';
import { LONGEST_NAME } from '../../core/timed-set.js';
import type { HopelessPart } from '../../results/chords.js';
import { REVOKED, revokedResult, storeRevoked } from '../../results/revoked-results.js';
import { encodeControlRequest } from '../../wire/control-message.js';
import { encodeJson } from '../../wire/serializers/json.js';
import { checkKeys, checkObject } from '../config-schema.js';
import type { Gateway } from '../gateway.js';

/** How to revoke. */
export interface RevokeOptions {
  /**
   * Ends the task if it runs: its signal aborts, and if it has not ended within a moment it is ended as by a hard time limit.
   * Without it a task that has begun goes on.
   * @defaultValue false
   * @remarks Source: Celery's `revoke(terminate=True)`.
   */
  readonly terminate?: boolean;
  /**
   * The signal that a Python worker sends to the process of the task. Workers of ours know one difference: `SIGKILL` leaves the
   * task no moment. With `terminate` only.
   * @defaultValue `'SIGTERM'`
   */
  readonly signal?: string;
}

/** How to revoke tasks that are known by their ids alone. */
export interface RevokeIdsOptions extends RevokeOptions {
  /**
   * When the tasks were to run, the latest of them if they are several: they are remembered until an hour after. Needed only for
   * tasks that wait longer than three hours where the broker cannot remove them (RabbitMQ, and Python's on Redis).
   */
  readonly eta?: Date;
}

/**
 * What became of a revoke.
 * - `removed`: its message waited and is gone; nobody will ever see it.
 * - `recorded`: whatever worker gets it, now or later, drops it.
 * - `broadcast-only`: the workers that listen now know of it, and those that start later do not: there is no place for a record,
 *   or 50,000 of them have filled it.
 */
export type RevokeOutcome = 'removed' | 'recorded' | 'broadcast-only';

/** What revoking needs of its app. */
export interface Revoker {
  readonly gateway: Gateway;
  readonly resultTtlMs: number | null;
  readonly nowMs: () => number;
}

/** What is known of the tasks beyond their ids. */
export interface RevokeFacts {
  readonly etaMs: number | null;
  /** False: their senders said that they want no result. */
  readonly keepsResults: boolean;
}

const OPTION_KEYS: ReadonlySet<string> = new Set(['terminate', 'signal']);
const IDS_OPTION_KEYS: ReadonlySet<string> = new Set([...OPTION_KEYS, 'eta']);
/** An argument of our revokes that Python's workers pass over: the sender stores REVOKED itself, so fifty workers need not. */
export const STORED_BY_SENDER = 'lovage_stored';

/** @throws ConfigError `E_CONFIG_*` */
export function checkRevokeOptions(options: RevokeIdsOptions, what: string, takes: 'one' | 'ids'): void {
  checkObject(options, what);
  checkKeys(options, takes === 'one' ? OPTION_KEYS : IDS_OPTION_KEYS, what);
  const { signal, eta } = options;
  if (signal !== undefined && !/^(?:SIG)?[A-Z][A-Z0-9]{1,10}$/.test(signal))
    throw new ConfigError('E_CONFIG_RANGE', `${what}: signal is ${JSON.stringify(signal)}, not a name such as 'SIGTERM'`);
  if (eta !== undefined && !(eta instanceof Date && Number.isFinite(eta.getTime())))
    throw new ConfigError('E_CONFIG_TYPE', `${what}: eta is no valid Date`);
}

/** @throws ConfigError `E_CONFIG_TYPE` */
export function checkTaskIds(given: string | readonly string[], what: string): readonly string[] {
  const ids: readonly unknown[] = Array.isArray(given) ? given : [given];
  if (ids.length > 0 && ids.every((id) => typeof id === 'string' && id !== '' && id.length <= LONGEST_NAME))
    return [...new Set(ids as string[])];
  throw new ConfigError('E_CONFIG_TYPE', `${what} takes a task id or a list of task ids`);
}

/** How long a revocation is remembered: as long as in Celery's workers, and past the time at which the task was to run. */
function timeToLiveMs(etaMs: number | null, nowMs: number): number {
  return etaMs === null ? LEAST_KEPT_MS : Math.max(LEAST_KEPT_MS, etaMs - nowMs + KEPT_AFTER_ETA_MS);
}

/**
 * Revokes tasks. Resolves with what became of each.
 * @throws BrokerError `E_BROKER_UNREACHABLE`: it may be revoked in part, and may be repeated
 */
export async function revokeTasks(
  revoker: Revoker,
  ids: readonly string[],
  options: RevokeOptions,
  facts: RevokeFacts,
): Promise<ReadonlyMap<string, RevokeOutcome>> {
  const outcomes = new Map<string, RevokeOutcome>();
  for (let from = 0; from < ids.length; from += REVOKE_STEP)
    await revokeStep(revoker, ids.slice(from, from + REVOKE_STEP), options, facts, outcomes);
  return outcomes;
}

async function revokeStep(
  { gateway, resultTtlMs, nowMs }: Revoker,
  ids: readonly string[],
  { terminate = false, signal = 'SIGTERM' }: RevokeOptions,
  { etaMs, keepsResults }: RevokeFacts,
  outcomes: Map<string, RevokeOutcome>,
): Promise<void> {
  const withdrawn = await gateway.withdraw(ids);
  const left = ids.filter((id) => !withdrawn.has(id));
  const recorded = left.length === 0 ? [] : await gateway.recordRevoked(left, timeToLiveMs(etaMs, nowMs()));
  for (const id of withdrawn.keys()) outcomes.set(id, 'removed');
  left.forEach((id, index) => outcomes.set(id, recorded[index] === true ? 'recorded' : 'broadcast-only'));
  // Also of what was removed: a second message of the task may be anywhere, and Python's workers learn of it in no other way.
  const args = { task_id: ids, terminate, signal, [STORED_BY_SENDER]: true };
  // Plain JSON: what every worker reads.
  await gateway.broadcast(encodeControlRequest({ method: 'revoke', arguments: args }, { json: 'plain' }));
  // What stood behind a removed one never runs. Of others the worker sees to that which drops them.
  const behind = [...withdrawn.values()].flatMap((message) =>
    idsBehind(message).map((id) => revokedResult(id, { ...message, headers: {} }, resultTtlMs, nowMs(), id)),
  );
  if (behind.length > 0) await gateway.storeResults(behind);
  const parts = [...withdrawn.values()].flatMap(partsIn).map(
    ({ body, ...part }): HopelessPart => ({
      ...part,
      resultJson: REVOKED,
      body: encodeJson(body),
      settlesAll: takesOutcomes(body),
    }),
  );
  if (parts.length > 0) await gateway.giveUpParts(parts, resultTtlMs);
  if (keepsResults) await storeRevoked(ids, { store: gateway, resultTtlMs, nowMs }, withdrawn);
}
