/** What a worker says of itself in the log when it is ready. */
import type { Broker, ConsumedQueue } from '../../../brokers/broker.js';
import type { Logger } from '../../../core/logger.js';
import type { ResultStore } from '../../../results/result-store.js';
import type { TaskFacts } from '../../port.js';

/** Names in one line. */
const NAMES = 10;

export interface Announcement {
  readonly name: string;
  readonly broker: Broker;
  readonly store: ResultStore;
  readonly queues: readonly ConsumedQueue[];
  readonly slots: number;
  readonly facts: ReadonlyMap<string, TaskFacts>;
  readonly logger: Logger;
}

export function announceReady({ name, broker, store, queues, slots, facts, logger }: Announcement): void {
  logger.info(
    { name, broker: broker.name, results: store.name, queues: queues.map((queue) => queue.name), slots, tasks: facts.size },
    'worker ready',
  );
  if (store.capabilities.readableByAnyone !== true) logger.info({ store: store.name }, store.capabilities.readableByAnyone);
  const endless = [...facts.values()].filter((task) => task.endlessRetry).map((task) => task.name);
  if (endless.length > 0)
    logger.warn(
      { tasks: endless.slice(0, NAMES), count: endless.length },
      "tasks with retry.max 'unlimited': what can never succeed is tried for ever",
    );
}
