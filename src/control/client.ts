/**
 * The client of remote control: what `app.control` does. Each method is a name of Celery's and its arguments; asking and
 * waiting is `ask.ts`, pauses are `pauses.ts`.
 */
import type { ControlHost } from '../app/app.js';
import { checkKeys, checkObject } from '../app/config-schema.js';
import type { Control, ControlAnswers, ControlOptions } from '../app/control/control-types.js';
import { checkRevokeOptions, checkTaskIds, revokeTasks } from '../app/control/revoke.js';
import type { ControlQuestion } from '../app/gateway.js';
import { activeRun } from '../app/task-context.js';
import type { Broker } from '../brokers/broker.js';
import { durationMs } from '../core/duration.js';
import { ConfigError } from '../core/errors.js';
import { type Asker, Turns, tell } from './ask.js';
import { KnownNodes } from './known-nodes.js';
import { LamportClock } from './lamport-clock.js';
import { askAll } from './pages.js';
import { changePauses, listPauses, PAUSES_CHANGED, type PauseChange } from './pauses.js';

const OPTION_KEYS: ReadonlySet<string> = new Set(['destination', 'pattern', 'matcher', 'timeout', 'limit', 'signal', 'onAnswer']);
const CONF_KEYS: ReadonlySet<string> = new Set([...OPTION_KEYS, 'withDefaults']);
const DEFAULT_TIMEOUT = '1s';

/** The control client of an app; opens nothing before the first question. */
export function createControl(host: ControlHost): Control {
  const shared = { clock: new LamportClock(), known: new KnownNodes(), turns: new Turns(), logger: host.logger, json: host.json };
  const askerOf = (broker: Broker): Asker => ({ ...shared, broker });
  const put = async <T>(question: ControlQuestion, options: ControlOptions = {}): Promise<ControlAnswers<T>> => {
    const gateway = host.gateway();
    // A task that has ended waits for nobody: what it asked must not keep others from asking.
    const signal = options.signal ?? activeRun.getStore()?.context.signal;
    if (gateway.ask) return (await gateway.ask(question, signal)) as ControlAnswers<T>;
    return askAll<T>(askerOf(await gateway.broker()), question, options);
  };
  const call = async <T>(
    method: string,
    args: Readonly<Record<string, unknown>>,
    options: ControlOptions = {},
    keys = OPTION_KEYS,
  ): Promise<ControlAnswers<T>> => put<T>(questionOf(method, args, options, keys), options);
  const cast = async (
    method: string,
    args: Readonly<Record<string, unknown>>,
    options: ControlOptions = {},
  ): Promise<number | null> => {
    const question = questionOf(method, args, options, OPTION_KEYS);
    const gateway = host.gateway();
    if (gateway.tell) return gateway.tell(question);
    return tell(askerOf(await gateway.broker()), question);
  };
  const pausing =
    (kind: PauseChange['kind'], to: PauseChange['to']): Control['pauseQueues'] =>
    async (names, options = {}) => {
      const change = { kind, to, names: namesOf(names, `control.${to}${kind === 'queue' ? 'Queues' : 'Tasks'}()`) };
      const question = questionOf(PAUSES_CHANGED, {}, options, new Set(['timeout']));
      return changePauses(await host.broker(), change, () => put(question));
    };

  return {
    ping: (options) => call('ping', {}, options),
    active: (options) => call('active', {}, options),
    reserved: (options) => call('reserved', {}, options),
    scheduled: (options) => call('scheduled', {}, options),
    revoked: (options) => call('revoked', {}, options),
    registered: (facts = [], options) => call('registered', { taskinfoitems: facts }, options),
    stats: (options) => call('stats', {}, options),
    activeQueues: (options) => call('active_queues', {}, options),
    queryTask: (ids, options) => call('query_task', { ids: namesOf(ids, 'control.queryTask()') }, options),
    report: (options) => call('report', {}, options),
    conf: (options = {}) => call('conf', { with_defaults: options.withDefaults === true }, options, CONF_KEYS),
    clock: (options) => call('clock', {}, options),

    revoke: async (ids, options = {}) => {
      checkRevokeOptions(options, 'control.revoke()', 'ids');
      const facts = { etaMs: options.eta?.getTime() ?? null, keepsResults: true };
      return revokeTasks({ ...host, gateway: host.gateway() }, checkTaskIds(ids, 'control.revoke()'), options, facts);
    },
    revokeByStampedHeaders: (headers, { terminate = false, terminateSignal = 'SIGTERM', ...options } = {}) =>
      call('revoke_by_stamped_headers', { headers, terminate, signal: terminateSignal }, options),

    rateLimit: (task, limit, options) => call('rate_limit', { task_name: task, rate_limit: limit }, options),
    timeLimit: async (task, { soft, hard }, options) =>
      call('time_limit', { task_name: task, soft: secondsOf(soft, 'soft'), hard: secondsOf(hard, 'hard') }, options),
    poolGrow: (n = 1, options) => call('pool_grow', { n }, options),
    poolShrink: (n = 1, options) => call('pool_shrink', { n }, options),
    autoscale: ({ max, min }, options) => call('autoscale', { max: max ?? null, min: min ?? null }, options),
    addConsumer: (queue, options) => call('add_consumer', { queue }, options),
    cancelConsumer: (queue, options) => call('cancel_consumer', { queue }, options),
    enableEvents: (options) => call('enable_events', {}, options),
    disableEvents: (options) => call('disable_events', {}, options),
    shutdown: (options) => cast('shutdown', {}, options),
    call: <T>(method: string, args: Readonly<Record<string, unknown>> = {}, options?: ControlOptions) =>
      call<T>(method, args, options),
    cast: (method, args = {}, options) => cast(method, args, options),

    pauseQueues: pausing('queue', 'pause'),
    resumeQueues: pausing('queue', 'resume'),
    pauseTasks: pausing('task', 'pause'),
    resumeTasks: pausing('task', 'resume'),
    paused: async () => listPauses(await host.broker()),
  };
}

/** @throws ConfigError `E_CONFIG_*` */
function questionOf(
  method: string,
  args: Readonly<Record<string, unknown>>,
  options: ControlOptions,
  keys: ReadonlySet<string>,
): ControlQuestion {
  const what = `control: ${method}`;
  checkObject(options, what);
  checkKeys(options, keys, what);
  const { destination, pattern, matcher = 'glob', timeout = DEFAULT_TIMEOUT, limit } = options;
  if (matcher !== 'glob' && matcher !== 'pcre')
    throw new ConfigError('E_CONFIG_RANGE', `${what}: matcher is ${JSON.stringify(matcher)}, not 'glob' or 'pcre'`);
  if (limit !== undefined && !(Number.isInteger(limit) && limit > 0))
    throw new ConfigError('E_CONFIG_RANGE', `${what}: limit is ${String(limit)}, not a whole number from 1`);
  return {
    method,
    args,
    destination: destination === undefined ? null : namesOf(destination, `${what}: destination`),
    pattern: pattern ?? null,
    matcher: pattern === undefined ? null : matcher,
    timeoutMs: durationMs(timeout, 'timeout'),
    limit: limit ?? null,
  };
}

/** One name or several. @throws ConfigError `E_CONFIG_TYPE` */
function namesOf(given: string | readonly string[], what: string): readonly string[] {
  const names: readonly unknown[] = Array.isArray(given) ? given : [given];
  if (names.length > 0 && names.every((name) => typeof name === 'string' && name !== '')) return [...new Set(names as string[])];
  throw new ConfigError('E_CONFIG_TYPE', `${what} takes a name or a list of names`);
}

/** Celery's limits are seconds. */
function secondsOf(limit: Parameters<typeof durationMs>[0] | undefined, name: string): number | null {
  return limit === undefined ? null : durationMs(limit, name) / 1_000;
}
