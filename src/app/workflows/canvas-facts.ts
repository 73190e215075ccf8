/** What of an app decides where a part of a canvas goes and how it is written: for senders here and in the engine. Pure. */
import type { TaskRoute } from '../../canvas/outgoing.js';
import { type CanvasFacts, destinationOf, findRoute } from '../../canvas/routes.js';
import type { AppConfig } from '../config.js';
import type { Registry } from '../registry.js';
import { builtinTasks } from './builtins.js';

export function canvasFactsOf(config: AppConfig, registry: Registry): CanvasFacts {
  const { defaultQueue, json, maxMessageSize } = config;
  const routes = config.router.table;
  const tasks: Record<string, TaskRoute> = Object.create(null);
  for (const { name, options } of [...registry.all(), ...builtinTasks(registry).values()]) {
    const route = findRoute(routes, name);
    tasks[name] = { to: destinationOf(options.queue, route, defaultQueue), priority: route?.priority, anyWorker: false };
  }
  return { json, maxMessageBytes: maxMessageSize, lowerIsSooner: lowerIsSooner(config.brokerUrl), routes, tasks };
}

/** Of priorities on the wire: kombu's Redis transport serves the smallest number first. */
export const lowerIsSooner = (brokerUrl: string): boolean => /^(redis|rediss|sentinel)\b/i.test(brokerUrl);
