/** Options of signatures: those of a call in Celery's names and units, and which tasks of a canvas they are for. Pure. */
import { ownPriority } from '../../canvas/routes.js';
import { kindOf, makeChord, partsOf, tasksOf, withTasks } from '../../canvas/shapes.js';
import { ConfigError } from '../../core/errors.js';
import { isoFromMs } from '../../wire/iso-time.js';
import type { SignatureOptions as WireOptions, WireSignature } from '../../wire/signature.js';
import { type ResolvedCallOptions, resolveCallOptions } from '../call-options.js';
import { checkObject } from '../config-schema.js';
import type { PreparedCall } from '../publish.js';
import type { SignatureOptions } from './signature-types.js';

const NEVER_CARRIED = ['timeout', 'signal', 'dedupe'] as const;

/** @throws ConfigError `E_CONFIG_CONFLICT` for options that belong to the moment of sending */
export function refuseNotCarried(given: object, what: string): void {
  checkObject(given, what);
  for (const name of NEVER_CARRIED) {
    if (!(name in given)) continue;
    const instead = name === 'dedupe' ? 'it is for single sends' : 'give it to send()';
    throw new ConfigError('E_CONFIG_CONFLICT', `${what}: a signature does not carry ${name}: ${instead}`);
  }
}

/** @throws ConfigError `E_CONFIG_*` */
export function carriedOptions(given: SignatureOptions, what: string, lowerIsSooner: boolean): WireOptions {
  refuseNotCarried(given, what);
  const options = resolveCallOptions(given, what);
  return {
    ...placeOnWire(options, what),
    ...optionsOnWire(options, lowerIsSooner),
    ...(options.ignoreResult !== null && { ignore_result: options.ignoreResult }),
  };
}

/** Without the app's table, an exchange needs its routing key beside it. */
function placeOnWire({ queue, exchange, routingKey }: ResolvedCallOptions, what: string): WireOptions {
  if (exchange === null && routingKey === null)
    return queue === null ? {} : { queue, exchange: undefined, routing_key: undefined };
  if (exchange === null || routingKey === null || queue !== null)
    throw new ConfigError('E_CONFIG_CONFLICT', `${what}: a signature takes a queue, or an exchange with its routingKey`);
  return { queue: undefined, exchange, routing_key: routingKey };
}

/** All that is known of a call before its arguments. */
export function callOnWire(call: PreparedCall, lowerIsSooner: boolean): WireOptions {
  const { to, priority, headers, ignoreResult, options } = call;
  return {
    // named even where it is the default: who sends it later may be a worker with other routes
    ...(to.exchange === undefined ? { queue: to.queue } : { exchange: to.exchange, routing_key: to.routingKey ?? to.queue }),
    ...optionsOnWire({ ...options, priority, headers }, lowerIsSooner),
    ...(ignoreResult && { ignore_result: true }),
    ...(options.stamps && { ...options.stamps, stamped_headers: Object.keys(options.stamps) }),
  };
}

/** Celery's names and units. */
function optionsOnWire(options: Omit<ResolvedCallOptions, 'ignoreResult'>, lowerIsSooner: boolean): WireOptions {
  const { id, priority, countdownMs, eta, expiresMs, expiresAt, headers, timeLimitMs, softTimeLimitMs } = options;
  return {
    ...(id !== null && { task_id: id }),
    ...(priority !== undefined && { priority: ownPriority(priority, lowerIsSooner) }),
    ...(countdownMs !== null && { countdown: countdownMs / 1_000 }),
    ...(eta !== null && { eta: isoFromMs(eta.getTime()) }),
    ...(expiresMs !== null && { expires: expiresMs / 1_000 }),
    ...(expiresAt !== null && { expires: isoFromMs(expiresAt.getTime()) }),
    ...(timeLimitMs !== null && { time_limit: timeLimitMs / 1_000 }),
    ...(softTimeLimitMs !== null && { soft_time_limit: softTimeLimitMs / 1_000 }),
    ...(headers !== null && { headers }),
  };
}

/** The same with these options over its own; `undefined` takes one away. */
export const withOptions = (wire: WireSignature, options: WireOptions): WireSignature => ({
  ...wire,
  options: Object.fromEntries(Object.entries({ ...wire.options, ...options }).filter(([, value]) => value !== undefined)),
});

/** Options of a chain are those of its first task, of a group those of each member, of a chord those of its body, as in Celery. */
export function overFirst(wire: WireSignature, options: WireOptions): WireSignature {
  switch (kindOf(wire)) {
    case 'chain': {
      const [first, ...others] = tasksOf(wire);
      return first === undefined ? wire : withTasks(wire, [overFirst(first, options), ...others]);
    }
    case 'group':
      return withTasks(
        wire,
        tasksOf(wire).map((member) => overFirst(member, options)),
      );
    case 'chord': {
      const { header, body } = partsOf(wire);
      const { kwargs } = makeChord(header, overFirst(body, options));
      // its own options stay: its errbacks, and that it settles all
      return { ...wire, kwargs: { ...wire.kwargs, ...kwargs } };
    }
    default:
      return withOptions(wire, options);
  }
}
