/**
 * What a queue of RabbitMQ is declared as: its row of the app's table, with the defaults of app and URL. Pure; who declares it is
 * `topology.ts`.
 */
import type { AmqpUrlOptions } from '../../clients/amqp-url.js';
import { ConfigError } from '../../core/errors.js';
import { declarationIn, type QueueDeclaration, type QueueTable, type QueueType } from '../queue-table.js';

/** How queues are to be declared. Bounded by the table, which is the app's code. */
export class DeclaredQueues {
  readonly #table: QueueTable;
  readonly #maxPriority: number | null;
  readonly #defaultType: QueueType | null;
  /** Exchange → queues of the table that are bound to it. */
  readonly #byExchange = new Map<string, readonly string[]>();
  /** Some queue is a quorum queue, so that Celery's clients use the delay ladder. */
  readonly anyQuorum: boolean;

  /** @throws ConfigError `E_CONFIG_CONFLICT` */
  constructor(table: QueueTable, { maxPriority, queueType }: Pick<AmqpUrlOptions, 'maxPriority' | 'queueType'>) {
    this.#table = table;
    this.#maxPriority = maxPriority;
    // The URL says what is true of this broker, the app what it wishes for everywhere.
    this.#defaultType = queueType ?? table.defaultType;
    if (this.#defaultType === 'quorum' && maxPriority !== null)
      throw new ConfigError(
        'E_CONFIG_CONFLICT',
        'max_priority in the broker URL has no effect on the quorum queues of defaultQueueType: take one away, or add &queue_type=classic',
      );
    const names = Object.keys(table.queues);
    for (const name of names) {
      const { exchange } = this.of(name);
      this.#byExchange.set(exchange, [...(this.#byExchange.get(exchange) ?? []), name]);
    }
    this.anyQuorum = this.#defaultType === 'quorum' || names.some((name) => this.isQuorum(name));
  }

  /** The queue as it is to be declared; one that is not in the table as Celery creates those that are missing. */
  of(queue: string): QueueDeclaration {
    const row = declarationIn(this.#table, queue) ?? {
      exchange: queue,
      exchangeType: 'direct',
      routingKey: queue,
      arguments: {},
    };
    const given: Record<string, string | number | boolean> = { ...row.arguments };
    if (this.#defaultType !== null) given['x-queue-type'] ??= this.#defaultType;
    if (this.#maxPriority !== null && given['x-queue-type'] !== 'quorum') given['x-max-priority'] ??= this.#maxPriority;
    return { ...row, arguments: given };
  }

  isQuorum(queue: string): boolean {
    return this.of(queue).arguments['x-queue-type'] === 'quorum';
  }

  /** Queues of the table that are bound to the exchange. */
  boundTo(exchange: string): readonly string[] {
    return this.#byExchange.get(exchange) ?? [];
  }

  /** Queues of the table that get what the broker drops from this one: without them it would be lost. */
  deadLettersOf(queue: string): readonly string[] {
    const { arguments: given } = this.of(queue);
    const exchange = given['x-dead-letter-exchange'];
    if (typeof exchange !== 'string') return [];
    const key = given['x-dead-letter-routing-key'];
    const target = exchange === '' && typeof key === 'string' && declarationIn(this.#table, key) ? [key] : [];
    return [...target, ...this.boundTo(exchange)].filter((name) => name !== queue);
  }
}
