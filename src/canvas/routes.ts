/**
 * Where a task goes whose call names no queue: the first pattern of a table that fits. And all that a worker must know of its app
 * to send what follows a task. Pure, and plain data, because the engine gets it from its executor.
 */
import type { Destination } from '../wire/message.js';
import type { JsonMode } from '../wire/serializers/json.js';
import type { OutgoingSettings, TaskRoute } from './outgoing.js';

/** A route whose parts are complete: an exchange always has its routing key and a queue. */
export interface ResolvedRoute {
  readonly queue?: string;
  readonly exchange?: string;
  readonly routingKey?: string;
  /** 0 to 9, higher = sooner. */
  readonly priority?: number;
}

/** A pattern, cut at its stars. */
export interface CompiledRoute {
  readonly parts: readonly string[];
  readonly route: ResolvedRoute;
}

/** The first that fits, in the order of the table. */
export function findRoute(table: readonly CompiledRoute[], task: string): ResolvedRoute | null {
  return table.find(({ parts }) => matches(task, parts))?.route ?? null;
}

/** Where a call goes: a queue that it or its task names, else its route, else the default queue. */
export function destinationOf(named: string | null, route: ResolvedRoute | null, defaultQueue: string): Destination {
  if (named !== null) return { queue: named };
  if (route?.exchange === undefined || route.routingKey === undefined) return { queue: route?.queue ?? defaultQueue };
  return { queue: route.queue ?? defaultQueue, exchange: route.exchange, routingKey: route.routingKey };
}

/** Greedy from the left; no regular expression, so no pattern can be slow. */
function matches(name: string, parts: readonly string[]): boolean {
  const first = parts[0] as string;
  if (parts.length === 1) return name === first;
  const last = parts[parts.length - 1] as string;
  if (!name.startsWith(first) || !name.endsWith(last) || name.length < first.length + last.length) return false;
  let at = first.length;
  for (const part of parts.slice(1, -1)) {
    const found = name.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return at <= name.length - last.length;
}

/** What has to be known of an app to send a part of a canvas. */
export interface CanvasFacts {
  readonly json: JsonMode;
  readonly maxMessageBytes: number;
  /** In signatures the broker's smaller numbers are sooner (Redis). */
  readonly lowerIsSooner: boolean;
  readonly routes: readonly CompiledRoute[];
  /** Where the app's own tasks go. */
  readonly tasks: Readonly<Record<string, TaskRoute>>;
}

/** Signatures of ours name their queue. One that does not was made in Python, where a task without a route goes here. */
const CELERY_QUEUE = 'celery';

export function canvasSettings(
  facts: CanvasFacts,
): Pick<OutgoingSettings, 'json' | 'maxMessageBytes' | 'routeOf' | 'priorityFromWire'> {
  const { json, maxMessageBytes, lowerIsSooner, routes, tasks } = facts;
  return {
    json,
    maxMessageBytes,
    routeOf: (task) => {
      const own = Object.hasOwn(tasks, task) ? tasks[task] : undefined;
      if (own !== undefined) return own;
      const route = findRoute(routes, task);
      return { to: destinationOf(null, route, CELERY_QUEUE), priority: route?.priority, anyWorker: true };
    },
    priorityFromWire: (priority) => ownPriority(priority, lowerIsSooner),
  };
}

/** From the broker's sense to ours and back: both ways the same. */
export const ownPriority = (priority: number, lowerIsSooner: boolean): number => (lowerIsSooner ? 9 - priority : priority);
