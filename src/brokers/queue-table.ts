/**
 * Queues that an app declares beyond their names, in AMQP's own terms: what a driver is given, and what becomes of it where a broker
 * has no such thing. Options in people's words are read in `app/queues.ts`; the driver that declares them is `rabbitmq/declared.ts`.
 */
import { BrokerError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import type { Broker } from './broker.js';

export type QueueType = 'classic' | 'quorum';
export type QueueExchangeType = 'direct' | 'topic' | 'fanout';
export type QueueArguments = Readonly<Record<string, string | number | boolean>>;

/** One queue of the table. */
export interface QueueDeclaration {
  readonly exchange: string;
  readonly exchangeType: QueueExchangeType;
  /** What binds the queue to its exchange; a pattern for `topic`. */
  readonly routingKey: string;
  /** As they go over the wire: `x-max-priority`, … */
  readonly arguments: QueueArguments;
}

/** Plain data: it crosses threads with the first word of an executor. */
export interface QueueTable {
  readonly queues: Readonly<Record<string, QueueDeclaration>>;
  /** `x-queue-type` of queues that name none; `null` = the broker's own default. */
  readonly defaultType: QueueType | null;
  /** Some route publishes to an exchange. */
  readonly routesByExchange: boolean;
}

export const NO_QUEUE_TABLE: QueueTable = Object.freeze({
  queues: Object.freeze({}),
  defaultType: null,
  routesByExchange: false,
});

/** The row of a queue. Names are the user's, `constructor` among them. */
export function declarationIn({ queues }: QueueTable, queue: string): QueueDeclaration | null {
  return Object.hasOwn(queues, queue) ? (queues[queue] as QueueDeclaration) : null;
}

/** Whether a declaration says no more than the name does. */
const isPlain = (name: string, { exchange, exchangeType, routingKey, arguments: given }: QueueDeclaration): boolean =>
  exchange === name && exchangeType === 'direct' && routingKey === name && Object.keys(given).length === 0;

/**
 * What a broker without declarations makes of the table. A limit that is not kept is a warning, so that an app can be tried on a file;
 * a route that cannot be taken is refused, because queues that should get a copy would get none. In one process alone, as tests are,
 * that is a warning too: the copy for the first queue is enough to try the task.
 * @throws BrokerError `E_NOT_SUPPORTED`
 */
export function checkQueueTable({ capabilities }: Pick<Broker, 'capabilities'>, table: QueueTable, logger: Logger): void {
  const { queueDeclarations } = capabilities;
  if (queueDeclarations === true) return;
  if (table.routesByExchange && capabilities.shared === true)
    throw new BrokerError(
      'E_NOT_SUPPORTED',
      `routes with an exchange or routingKey cannot be taken on this broker: ${queueDeclarations}. Route to a queue by its name, or use amqp://`,
    );
  const queues = Object.keys(table.queues).filter((name) => !isPlain(name, table.queues[name] as QueueDeclaration));
  if (queues.length === 0 && table.defaultType === null && !table.routesByExchange) return;
  logger.warn({ queues }, `what the app declares of its queues has no effect on this broker: ${queueDeclarations}`);
}
