/**
 * What a queue of RabbitMQ is declared as: its row of the app's table, with the defaults of app and URL. Pure; who declares it is
 * `topology.ts`.
 */
import type { AmqpUrlOptions } from '../../clients/amqp-url.js';
import { ConfigError } from '../../core/errors.js';
import { declarationIn, type QueueDeclaration, type QueueTable, type QueueType } from '../queue-table.js';
import { topicMatcher } from '../topic-pattern.js';
import { delayBinding, delayWord, digestWord, LONGEST_WORD } from './delay.js';

/** How queues are to be declared. Bounded by the table, which is the app's code. */
export class DeclaredQueues {
  readonly #table: QueueTable;
  readonly #maxPriority: number | null;
  readonly #defaultType: QueueType | null;
  /** Exchange → queues of the table that are bound to it. */
  readonly #byExchange = new Map<string, readonly string[]>();
  /** Exchanges of broadcast queues. */
  readonly #broadcasts: ReadonlySet<string>;
  /** Patterns by which delayed messages of Celery's clients come to queues, and those queues. */
  readonly #delayPatterns: readonly { readonly queue: string; readonly key: string; fits(name: string): boolean }[];
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
    const names = Object.keys(table.queues).filter((name) => !table.queues[name]?.broadcast);
    this.#broadcasts = new Set(Object.values(table.queues).flatMap((row) => (row.broadcast ? [row.exchange] : [])));
    for (const name of names) {
      const { exchange } = this.of(name);
      this.#byExchange.set(exchange, [...(this.#byExchange.get(exchange) ?? []), name]);
    }
    this.anyQuorum = this.#defaultType === 'quorum' || names.some((name) => this.isQuorum(name));
    this.#delayPatterns = this.anyQuorum ? names.flatMap((name) => this.#delayPattern(name)) : [];
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

  /** Whether workers listen to the exchange for themselves, each with a queue that is in no table. */
  isBroadcast(exchange: string): boolean {
    return this.#broadcasts.has(exchange);
  }

  /** Queues of the table that are bound to the exchange. */
  boundTo(exchange: string): readonly string[] {
    return this.#byExchange.get(exchange) ?? [];
  }

  /**
   * What binds the queue to the end of the delay ladder: its own word, and the key that Celery's clients put behind the bits of a
   * delayed message for an exchange that is not direct.
   */
  delayKeys(queue: string): readonly string[] {
    const word = this.delayWord(queue);
    const keys = this.#delayPatterns.filter((pattern) => pattern.queue === queue).map(({ key }) => delayBinding(queue, key));
    return [...new Set([delayBinding(queue, word), ...keys])];
  }

  /** The queue's part of our delayed routing keys: no other queue's pattern may fit it, or that queue would get a copy. */
  delayWord(queue: string): string {
    const taken = this.#delayPatterns.some((pattern) => pattern.queue !== queue && pattern.fits(queue));
    return taken ? digestWord(queue) : delayWord(queue);
  }

  /** None for a pattern that begins wild: it would take what others delay for their queues. A Python worker's own binding takes those. */
  #delayPattern(queue: string): { queue: string; key: string; fits(name: string): boolean }[] {
    const { exchangeType, routingKey: key } = this.of(queue);
    if (
      exchangeType === 'direct' ||
      exchangeType === 'headers' ||
      key === '' ||
      /^[#*]/.test(key) ||
      Buffer.byteLength(key) > LONGEST_WORD
    )
      return [];
    return [{ queue, key, fits: topicMatcher(key) }];
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
