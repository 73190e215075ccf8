/** Where a message goes in Redis, and as what: the list of its queue and priority, and kombu's envelope. */
import { randomUUID } from 'node:crypto';
import { encodeEnvelope, queueKey, redisPriority } from '../../wire/redis-envelope.js';
import type { OutgoingMessage } from '../broker.js';
import type { RedisBindings } from './bindings.js';

export interface Placed {
  /** The key, without the global prefix. */
  readonly list: string;
  readonly envelope: string;
  /** The envelope's own; no other message has it. */
  readonly deliveryTag: string;
}

/** Whether it waits in the delay set, while somebody lives who brings it back. Others than Lovage never look there. */
export function isDelayed({ notBeforeMs = 0, anyWorker }: OutgoingMessage): boolean {
  return notBeforeMs > 0 && anyWorker !== true && notBeforeMs > Date.now();
}

/** @throws ConfigError `E_CONFIG_RANGE` for a queue's name; WireError for what no envelope can hold */
export function place({ to, priority, message: given }: OutgoingMessage, bindings: Pick<RedisBindings, 'plan'>): Placed {
  const message =
    priority === undefined ? given : { ...given, properties: { ...given.properties, priority: redisPriority(priority) } };
  const deliveryTag = randomUUID();
  bindings.plan(to.queue);
  // By the default exchange, also a copy of what went to another: a retry in Python is for this queue alone.
  const envelope = encodeEnvelope(message, { exchange: '', routingKey: to.queue, deliveryTag });
  return { list: queueKey(to.queue, message.properties.priority ?? 0), envelope, deliveryTag };
}
