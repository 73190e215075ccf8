/**
 * What must exist on the broker: worker queues equal to Celery's, the delay ladder, the dead-letter queue, broadcast exchanges.
 *
 * Everything is declared when it is first needed and once a connection. A queue or exchange that is there with other arguments is
 * adopted as it is: whoever made it had a reason, and dying over it is what makes mixed estates fail at deploy time.
 */
import { AMQP_NOT_FOUND, AMQP_PRECONDITION_FAILED, amqpCode, type SetupChannel } from '../../clients/amqp-setup.js';
import { BrokerError, toError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { QueueArguments, QueueExchangeType } from '../queue-table.js';
import { declarationError } from './declaration-error.js';
import type { DeclaredQueues } from './declared.js';
import { DELIVERY_EXCHANGE, type Declaration, LAST_STAGE, ladder, stages } from './delay.js';
import { makeOnce } from './shared-queue.js';
import { claimQueue, orphanQueue } from './way-stations.js';
import { writtenDown } from './witness.js';

export type ExchangeKind = QueueExchangeType;

/** Where parked messages wait for a human. Durable, no limit: dropping one would lose it. */
export const DEAD_QUEUE = 'lovage.dead';

/**
 * How long a queue's way out of the delay ladder is taken for granted. A delayed message is confirmed by the first level, long before
 * it could turn out that its queue was deleted; so that is looked after again from time to time.
 */
const DELAY_TRUSTED_MS = 30_000;

/** How many names are remembered as declared; beyond it they are declared again when used. */
const REMEMBERED = 10_000;

export interface BroadcastKind {
  readonly type: ExchangeKind;
  readonly durable: boolean;
}

/** A broadcast exchange with the type and durability that Celery gives it (wire section 5.1). */
export function broadcastExchange(name: string): BroadcastKind {
  if (name.endsWith('.pidbox')) return { type: name.startsWith('reply.') ? 'direct' : 'fanout', durable: false };
  return { type: 'topic', durable: name === 'celeryev' };
}

/** Declares, adopts and remembers. */
export class Topology {
  readonly #setup: () => SetupChannel;
  readonly #apart: SetupChannel;
  readonly #declared: DeclaredQueues;
  readonly #logger: Logger;
  /** Promises too, so that a hundred sends of one tick declare once. */
  readonly #done = new Map<string, Promise<void> | true>();
  /** When the delayed ways of queues were last declared. */
  readonly #delayedAtMs = new Map<string, number>();
  /** Queues declared since the start, for `queues()`; survives reconnects. */
  readonly #queues = new Set<string>();
  /** How often in a row the orphans of a queue have not answered a subscription; bounded by the queues that are consumed. */
  readonly silences = new Map<string, number>();

  /** It was made, or found whole, on a connection before. */
  #ladderStands = false;
  #warnedOfPriority = false;

  /** @param apart for what takes long and nobody waits for: the first event of a worker must not stand behind it */
  constructor(setup: () => SetupChannel, apart: SetupChannel, declared: DeclaredQueues, logger: Logger) {
    this.#setup = setup;
    this.#apart = apart;
    this.#declared = declared;
    this.#logger = logger;
  }

  /** Worker queues that this client has declared, sorted: AMQP has no way to list those of others. */
  get queues(): readonly string[] {
    return [...this.#queues].sort();
  }

  /** True if nothing has to be declared: the fast path of publishing. */
  hasQueue(queue: string): boolean {
    return this.#done.get(`q:${queue}`) === true;
  }

  /** True if a delayed message would find its way to the queue. */
  hasDelay(queue: string): boolean {
    if (this.#done.get(`d:${queue}`) !== true) return false;
    return performance.now() - (this.#delayedAtMs.get(queue) ?? 0) < DELAY_TRUSTED_MS;
  }

  /** The queue's part of a delayed routing key. */
  delayWord(queue: string): string {
    return this.#declared.delayWord(queue);
  }

  /** Says once that a priority has no effect: the sender chose it for a reason. */
  noticePriority(queue: string): void {
    if (this.#warnedOfPriority || !this.#declared.isQuorum(queue)) return;
    this.#warnedOfPriority = true;
    this.#logger.warn(
      { queue },
      "a quorum queue knows no priorities: declare it with type: 'classic' and maxPriority, or leave them out",
    );
  }

  /** When something turned out to be missing: the next use declares everything again. */
  forget(): void {
    this.disconnected();
    this.#ladderStands = false;
  }

  /** After a lost connection: the next use declares again, and of the delay ladder looks for the last queue only. */
  disconnected(): void {
    this.#done.clear();
    this.#delayedAtMs.clear();
  }

  /** True if everything that the app declares of this exchange stands; nothing is known, or needed, of one that it does not name. */
  hasExchange(exchange: string): boolean {
    return this.#declared.boundTo(exchange).every((queue) => this.hasQueue(queue));
  }

  /** An exchange of the table with all its queues: a message is lost to those that are bound too late. */
  async exchange(exchange: string, timeoutMs: number): Promise<void> {
    for (const queue of this.#declared.boundTo(exchange)) await this.queue(queue, timeoutMs);
  }

  /** The queue, its exchange and their binding, as Celery declares them; and the queues that its dropped messages go to. */
  queue(queue: string, timeoutMs: number): Promise<void> {
    return this.#once(`q:${queue}`, async () => {
      // Not through `queue()`: two that take each other's dead letters would wait for each other.
      for (const target of this.#declared.deadLettersOf(queue)) await this.#queueWithExchange(target, timeoutMs);
      await this.#queueWithExchange(queue, timeoutMs);
      if (this.#queues.size < REMEMBERED) this.#queues.add(queue);
    });
  }

  async #queueWithExchange(queue: string, timeoutMs: number): Promise<void> {
    const row = this.#declared.of(queue);
    const declare = (): Promise<'declared' | 'adopted'> =>
      this.#declare({ kind: 'queue', name: queue, arguments: row.arguments }, timeoutMs);
    const declared = this.#declared.isQuorum(queue) ? await this.#writtenDown(queue, declare, timeoutMs) : await declare();
    if (declared === 'adopted') {
      await this.#mustExist(queue, row.arguments, timeoutMs);
      this.#logger.info({ queue }, 'queue exists with other arguments and is used as it is');
    }
    // An exchange of that name with another type belongs to somebody: then the default exchange alone reaches the queue.
    const { exchange, exchangeType: type, routingKey: key, bindingArguments } = row;
    if ((await this.#declare({ kind: 'exchange', name: exchange, type }, timeoutMs)) === 'declared')
      await this.#declare({ kind: 'bind-queue', queue, exchange, key, arguments: bindingArguments }, timeoutMs);
    else if (exchange !== queue)
      this.#logger.warn({ queue, exchange, type }, 'the exchange exists with another type: the queue gets nothing from it');
  }

  /** RabbitMQ says 406 also to arguments that no queue may have. Then there is none that could be used as it is. */
  async #mustExist(queue: string, given: QueueArguments, timeoutMs: number): Promise<void> {
    await this.#setup()
      .run(timeoutMs, (channel) => channel.checkQueue(queue))
      .catch((error: unknown) => {
        if (amqpCode(error) !== AMQP_NOT_FOUND) throw declarationError(error, 'queue', queue);
        const what = `the broker refuses to make queue ${queue} with these arguments: ${JSON.stringify(given)}`;
        throw new BrokerError('E_NOT_SUPPORTED', what, { cause: toError(error) });
      });
  }

  /** The delay ladder, and the way from it to this queue. */
  async delay(queue: string, timeoutMs: number): Promise<void> {
    await this.#once('ladder', () => this.#ladder(timeoutMs));
    if (this.#done.get(`d:${queue}`) === true && !this.hasDelay(queue))
      for (const key of [`q:${queue}`, `d:${queue}`]) this.#done.delete(key);
    await this.queue(queue, timeoutMs);
    await this.#once(`d:${queue}`, async () => {
      const keys = this.#declared.delayKeys(queue);
      await this.#all(
        keys.map((key) => ({ kind: 'bind-queue', queue, exchange: DELIVERY_EXCHANGE, key })),
        timeoutMs,
      );
      this.#delayedAtMs.set(queue, performance.now());
    });
  }

  /** More than a hundred declarations, one after the other: with a broker far away the first retry after each reconnect would wait for seconds. */
  async #ladder(timeoutMs: number): Promise<void> {
    if (this.#ladderStands && (await this.#exists(LAST_STAGE, timeoutMs))) return;
    await this.#writtenDown(LAST_STAGE, () => this.#all([...ladder(), ...stages()], timeoutMs), timeoutMs);
    this.#ladderStands = true;
  }

  /**
   * All that a queue needs whose messages we take. With quorum queues the way from the delay ladder too, as Celery 5.5's workers
   * declare it: its clients publish delayed messages there without declaring anything, and without it they would be refused or lost.
   */
  async consumed(queue: string, timeoutMs: number): Promise<void> {
    await (this.#declared.anyQuorum ? this.delay(queue, timeoutMs) : this.queue(queue, timeoutMs));
  }

  /** The queue of parked messages. */
  dead(timeoutMs: number): Promise<void> {
    return this.#once('dead', () => this.#all([{ kind: 'queue', name: DEAD_QUEUE, arguments: {} }], timeoutMs));
  }

  /** A new claim queue: what lies in it for `ttlMs` goes to the orphans of `source`. Returns its name. */
  async claims(source: string, ttlMs: number, timeoutMs: number): Promise<string> {
    const queue = claimQueue(source, ttlMs, await this.orphans(source, timeoutMs));
    await this.#declare(queue, timeoutMs);
    // a copy in a queue that the broker forgets with its next crash would be lost, and the original has gone by then
    await writtenDown(this.#setup(), timeoutMs);
    return queue.name;
  }

  /**
   * The queue of what came back from claims of `source`: workers of ours take it first. What none of them has taken after a while goes
   * to the end of `source`. Returns its name.
   */
  async orphans(source: string, timeoutMs: number): Promise<string> {
    const queue = orphanQueue(source);
    await this.#once(`o:${source}`, async () => {
      await makeOnce(this.#apart, queue, timeoutMs);
    });
    return queue.name;
  }

  /** What an exchange for broadcasts is: those of the table as Celery's `Broadcast` makes them. */
  broadcastKind(exchange: string): BroadcastKind {
    return this.#declared.isBroadcast(exchange) ? { type: 'fanout', durable: true } : broadcastExchange(exchange);
  }

  /** An exchange for broadcasts, with the queues of the table that hear it too. */
  broadcast(exchange: string, timeoutMs: number): Promise<void> {
    return this.#once(`b:${exchange}`, async () => {
      const { type, durable } = this.broadcastKind(exchange);
      if (this.#declared.isBroadcast(exchange)) await this.exchange(exchange, timeoutMs);
      await this.#adopting(timeoutMs, exchange, 'exchange', (channel) => channel.assertExchange(exchange, type, { durable }));
    });
  }

  #once(key: string, declare: () => Promise<void>): Promise<void> {
    const known = this.#done.get(key);
    if (known) return known === true ? Promise.resolve() : known;
    if (this.#done.size >= REMEMBERED) this.forget();
    const running = declare().then(
      () => void (this.#done.get(key) === running && this.#done.set(key, true)),
      (error: unknown) => {
        if (this.#done.get(key) === running) this.#done.delete(key);
        throw error;
      },
    );
    this.#done.set(key, running);
    return running;
  }

  /** Declares quorum queues, of which `last` is the last; resolves when they would survive a crash of the broker. */
  async #writtenDown<T>(last: string, declare: () => Promise<T>, timeoutMs: number): Promise<T> {
    const existed = await this.#exists(last, timeoutMs);
    const declared = await declare();
    if (!existed) await writtenDown(this.#setup(), timeoutMs);
    return declared;
  }

  #exists(queue: string, timeoutMs: number): Promise<boolean> {
    return this.#setup()
      .run(timeoutMs, (channel) => channel.checkQueue(queue))
      .then(
        () => true,
        (error: unknown) => {
          if (amqpCode(error) === AMQP_NOT_FOUND) return false;
          throw declarationError(error, 'queue', queue);
        },
      );
  }

  async #all(declarations: readonly Declaration[], timeoutMs: number): Promise<void> {
    for (const declaration of declarations) await this.#declare(declaration, timeoutMs);
  }

  #declare(what: Declaration, timeoutMs: number): Promise<'declared' | 'adopted'> {
    switch (what.kind) {
      case 'queue':
        return this.#adopting(timeoutMs, what.name, 'queue', (channel) =>
          channel.assertQueue(what.name, { durable: true, arguments: what.arguments }),
        );
      case 'exchange':
        return this.#adopting(timeoutMs, what.name, 'exchange', (channel) =>
          channel.assertExchange(what.name, what.type, { durable: true }),
        );
      case 'bind-queue':
        return this.#adopting(timeoutMs, what.queue, 'queue', (channel) =>
          channel.bindQueue(what.queue, what.exchange, what.key, what.arguments),
        );
      case 'bind-exchange':
        return this.#adopting(timeoutMs, what.to, 'exchange', (channel) => channel.bindExchange(what.to, what.from, what.key));
    }
  }

  async #adopting(
    timeoutMs: number,
    name: string,
    kind: 'queue' | 'exchange',
    declare: (channel: Parameters<Parameters<SetupChannel['run']>[1]>[0]) => Promise<unknown>,
  ): Promise<'declared' | 'adopted'> {
    try {
      await this.#setup().run(timeoutMs, declare);
      return 'declared';
    } catch (error) {
      // 406 = it is there with other arguments: the channel has gone, the thing stays as it was.
      if (amqpCode(error) === AMQP_PRECONDITION_FAILED) return 'adopted';
      throw declarationError(error, kind, name);
    }
  }
}
