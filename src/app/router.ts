/** Which queue a task goes to. Order: the call, the task, the first route that fits, the app's default queue. Pure. */
import { NO_QUEUE_TABLE, type QueueTable } from '../brokers/queue-table.js';
import { type CompiledRoute, findRoute } from '../canvas/routes.js';
import { ConfigError } from '../core/errors.js';
import { checkKeys, checkObject } from './config-schema.js';
import { resolveExchangeRoute } from './exchange-route.js';

/** Where tasks of a pattern go. */
export interface Route {
  readonly queue?: string;
  /**
   * An exchange of the app's `queues`: the message goes to every queue that it leads to by `routingKey`, a copy each.
   * @remarks Source: Celery's route option `exchange`.
   */
  readonly exchange?: string;
  /** @defaultValue that of `queue` @remarks Source: Celery's route option `routing_key`. */
  readonly routingKey?: string;
  /** 0 to 9, higher = sooner. */
  readonly priority?: number;
}

/** Task name patterns to routes. `*` stands for any characters, also none; everything else is literal. */
export type Routes = Readonly<Record<string, Route>>;

/** Routes ready to be asked. */
export interface Router {
  /** The first route that fits, in the order of the table. */
  find(taskName: string): Route | null;
  /** As plain data, for who finds by himself. */
  readonly table: readonly CompiledRoute[];
}

const ROUTE_KEYS: ReadonlySet<string> = new Set(['queue', 'exchange', 'routingKey', 'priority']);

/** @throws ConfigError `E_CONFIG_RANGE` unless it is a whole number from 0 to 9 */
export function checkPriority(priority: unknown, name: string): void {
  if (typeof priority === 'number' && Number.isInteger(priority) && priority >= 0 && priority <= 9) return;
  throw new ConfigError(
    'E_CONFIG_RANGE',
    `${name} is ${JSON.stringify(priority)}: it must be a whole number from 0 (last) to 9 (soonest)`,
  );
}

/** @throws ConfigError `E_CONFIG_RANGE` unless it is a name that every broker takes */
export function checkQueueName(queue: unknown, name: string): void {
  if (typeof queue === 'string' && queue !== '' && Buffer.byteLength(queue) <= 255) return;
  throw new ConfigError('E_CONFIG_RANGE', `${name} is ${JSON.stringify(queue)}: a queue name has 1 to 255 bytes`);
}

/**
 * Compiles the table once; unknown keys and wrong values are found at the start and not at the first send.
 * @throws ConfigError `E_CONFIG_UNKNOWN_KEY`, `E_CONFIG_TYPE`, `E_CONFIG_RANGE`, `E_CONFIG_CONFLICT`
 */
export function createRouter(routes: Routes, table: QueueTable = NO_QUEUE_TABLE): Router {
  const compiled = Object.entries(routes).map(([pattern, route]): CompiledRoute => {
    const what = `routes[${JSON.stringify(pattern)}]`;
    checkObject(route, what);
    checkKeys(route, ROUTE_KEYS, what);
    if (route.queue !== undefined) checkQueueName(route.queue, `${what}.queue`);
    if (route.priority !== undefined) checkPriority(route.priority, `${what}.priority`);
    if (route.exchange === undefined && route.routingKey === undefined) return { parts: pattern.split('*'), route };
    return { parts: pattern.split('*'), route: { ...route, ...resolveExchangeRoute(route, table, what) } };
  });
  return { find: (taskName) => findRoute(compiled, taskName), table: compiled };
}
