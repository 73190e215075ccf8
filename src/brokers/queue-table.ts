/**
 * Queues that an app declares beyond their names, in AMQP's own terms: what a driver is given, and what becomes of it where a broker
 * has no such thing. Options in people's words are read in `app/queues.ts`; the driver that declares them is `rabbitmq/declared.ts`.
 */
import type { Logger } from '../core/logger.js';
import type { Broker } from './broker.js';

export type QueueType = 'classic' | 'quorum';
export type QueueExchangeType = 'direct' | 'topic' | 'fanout' | 'headers';
export type QueueArguments = Readonly<Record<string, string | number | boolean>>;

/** One queue of the table. */
export interface QueueDeclaration {
  readonly exchange: string;
  readonly exchangeType: QueueExchangeType;
  /** What binds the queue to its exchange; a pattern for `topic`. */
  readonly routingKey: string;
  /** Headers that a message must have, for an exchange of type `headers`. */
  readonly bindingArguments?: QueueArguments;
  /** As they go over the wire: `x-max-priority`, … */
  readonly arguments: QueueArguments;
  /** Each worker that takes it listens to the fanout exchange for itself; no queue of that name is ever declared. */
  readonly broadcast?: true;
}

/** Plain data: it crosses threads with the first word of an executor. */
export interface QueueTable {
  readonly queues: Readonly<Record<string, QueueDeclaration>>;
  /** `x-queue-type` of queues that name none; `null` = the broker's own default. */
  readonly defaultType: QueueType | null;
}

export const NO_QUEUE_TABLE: QueueTable = Object.freeze({
  queues: Object.freeze({}),
  defaultType: null,
});

/** Broadcast queues, by name. */
export type BroadcastRows = ReadonlyMap<string, QueueDeclaration>;

export function broadcastRows({ queues }: QueueTable): BroadcastRows {
  return new Map(Object.entries(queues).filter(([, { broadcast }]) => broadcast === true));
}

/** The row of a queue. Names are the user's, `constructor` among them. */
export function declarationIn({ queues }: QueueTable, queue: string): QueueDeclaration | null {
  return Object.hasOwn(queues, queue) ? (queues[queue] as QueueDeclaration) : null;
}

/**
 * Warns of what has no effect on a broker without declarations: a limit that is not kept is no reason to refuse an app that is tried
 * on a file. Exchanges and broadcast queues have their effect everywhere (`exchange-copies.ts`, `broadcast-queues.ts`).
 */
export function warnOfQueueTable({ capabilities }: Pick<Broker, 'capabilities'>, table: QueueTable, logger: Logger): void {
  const { queueDeclarations } = capabilities;
  if (queueDeclarations === true) return;
  const queues = Object.keys(table.queues).filter((name) => Object.keys(table.queues[name]?.arguments ?? {}).length > 0);
  if (queues.length === 0 && table.defaultType === null) return;
  logger.warn({ queues }, `arguments and types of declared queues have no effect on this broker: ${queueDeclarations}`);
}
