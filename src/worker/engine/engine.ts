/**
 * The engine: every connection of a worker and its whole life. It never runs user code. It owns the start and stop
 * order of its parts; deliveries flow through `consumer.ts`, executors through `executors.ts`, outcomes through `settle.ts`.
 *
 * Life: starting → running → warm stop (nothing new, running tasks may finish) → abort (signals) → hand back → closed.
 */
import type { Broker, Consumer } from '../../brokers/broker.js';
import type { Clock } from '../../core/clock.js';
import { systemClock } from '../../core/clock.js';
import { toError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { defaultResultUrl } from '../../results/from-url.js';
import type { ResultStore } from '../../results/result-store.js';
import type { EngineOptions } from '../options.js';
import { queueCredits } from '../options.js';
import type { StopReport } from '../pools/pool.js';
import type { EngineEnd, ExecutorHello, FromExecutor, PortError, TaskFacts } from '../port.js';
import { LOSSES_HEADER, lossesOf, withHeader } from './admission.js';
import { Calls } from './calls.js';
import { openConnections } from './connect.js';
import { Intake } from './consumer.js';
import { Executors } from './executors.js';
import { Patience } from './patience.js';
import { CLAIM_TTL_MS, Settler } from './settle.js';
import { type ActiveRun, type EngineCounters, newCounters } from './state.js';
import { TaskLog } from './task-log.js';

/** After the grace, how long aborted tasks may take to end before they are handed back as they are. */
const ABORT_MS = 1_000;
const CLOSE_MS = 1_000;

export class Engine {
  readonly counters: EngineCounters = newCounters();
  readonly #options: EngineOptions;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #active = new Map<number, ActiveRun>();
  readonly #facts = new Map<string, TaskFacts>();
  readonly #executors: Executors;
  readonly #taskLog: TaskLog;
  readonly #giveUp = new AbortController();
  readonly #patience = new Patience();
  /** Credit that waits until settlements have caught up. */
  readonly #owed = new Map<string, number>();
  readonly #executorCount: number;
  readonly #executorStopped = new Set<number>();
  #readyCount = 0;
  #ready: { resolve(hello: ExecutorHello): void; reject(error: PortError): void } | null = null;
  #broker: Broker | null = null;
  #store: ResultStore | null = null;
  #consumer: Consumer | null = null;
  #settler: Settler | null = null;
  #intake: Intake | null = null;
  #calls: Calls | null = null;
  #stopping: Promise<StopReport> | null = null;

  constructor(options: EngineOptions, ends: readonly EngineEnd[], logger: Logger, clock: Clock = systemClock) {
    this.#options = options;
    this.#logger = logger;
    this.#clock = clock;
    this.#executorCount = ends.length;
    this.#taskLog = new TaskLog(logger, clock);
    this.#executors = new Executors(options.slotsPerExecutor, (executor, message) => this.#onMessage(executor, message));
    for (const [index, end] of ends.entries()) this.#executors.attach(index, end);
  }

  /** Active runs and those that wait for a slot. */
  get activeCount(): number {
    return this.#active.size;
  }

  /** Waits for the executors, connects, and takes the first tasks. @throws LovageError what kept it from starting */
  async start(): Promise<void> {
    const hello = await new Promise<ExecutorHello>((resolve, reject) => {
      this.#ready = { resolve, reject };
    });
    const options = this.#options;
    const { broker, store } = await openConnections({
      brokerUrl: options.brokerUrl ?? hello.brokerUrl,
      resultUrl: options.resultUrl ?? (options.brokerUrl === null ? hello.resultUrl : defaultResultUrl(options.brokerUrl)),
      timeoutMs: options.connectTimeoutMs,
      tries: options.connectTries,
      logger: this.#logger,
      signal: this.#giveUp.signal,
    });
    this.#broker = broker;
    this.#store = store;
    this.#calls = new Calls(broker, store);
    const consumer = (): Consumer => this.#consumer as Consumer;
    const settler = new Settler({
      broker,
      store,
      consumer,
      counters: this.counters,
      logger: this.#logger,
      taskLog: this.#taskLog,
      clock: this.#clock,
      resultTtlMs: hello.resultTtlMs,
      signal: this.#giveUp.signal,
      onDrained: () => this.#onDrained(),
    });
    this.#settler = settler;
    this.#intake = new Intake({
      broker,
      store,
      consumer,
      executors: this.#executors,
      settler,
      active: this.#active,
      facts: this.#facts,
      counters: this.counters,
      logger: this.#logger,
      taskLog: this.#taskLog,
      clock: this.#clock,
      unknownTaskPatienceMs: options.unknownTaskPatienceMs,
      claimTtlMs: hello.resultTtlMs ?? CLAIM_TTL_MS,
      grant: (queue) => this.#grant(queue, 1),
    });
    for (let index = 0; index < this.#executorCount; index++) this.#executors.open(index);
    const slots = this.#executorCount * options.slotsPerExecutor;
    const queues = queueCredits(options.queues ?? [{ name: hello.defaultQueue, credit: null }], slots);
    for (const queue of queues) await broker.declare(queue.name);
    const starting: Parameters<Intake['arrivals']>[0][number][] = [];
    this.#consumer = await broker.consume({
      queues,
      credit: slots,
      leaseMs: options.leaseMs,
      consumerName: options.name,
      logger: this.#logger,
      // A driver may deliver before consume() has resolved; until then there is nothing to settle with.
      onArrivals: (arrivals) => (this.#consumer ? this.#intake?.arrivals(arrivals) : starting.push(...arrivals)),
      onLost: (tags) => this.#onLost(new Set(tags)),
      onState: (state, cause) => {
        if (state === 'connected') this.#logger.info({ broker: broker.name }, 'connected to the broker');
        else this.#logger.warn({ broker: broker.name, error: cause?.message }, 'connection to the broker lost; reconnecting');
      },
    });
    if (starting.length > 0) this.#intake.arrivals(starting.splice(0));
    this.#logger.info(
      {
        name: options.name,
        broker: broker.name,
        results: store.name,
        queues: queues.map(({ name }) => name),
        slots,
        tasks: this.#facts.size,
      },
      'worker ready',
    );
    if (store.capabilities.readableByAnyone !== true)
      this.#logger.info({ store: store.name }, store.capabilities.readableByAnyone);
  }

  /** Ends the worker; a second call with a shorter grace hurries the first. */
  stop(graceMs: number): Promise<StopReport> {
    if (this.#stopping) {
      this.#patience.hurry();
      return this.#stopping;
    }
    this.#stopping = this.#stop(graceMs);
    return this.#stopping;
  }

  /** Puts a new executor in the place of one that died; what ran there goes back, with the loss counted. */
  replaceExecutor(index: number, end: EngineEnd): void {
    this.#executorStopped.delete(index);
    this.#executors.attach(index, end);
  }

  /** The executor's thread or process ended by itself. */
  executorDied(index: number, reason: string): void {
    this.#executors.detach(index);
    this.#executorStopped.add(index);
    for (const run of [...this.#active.values()]) {
      if (run.executor !== index) continue;
      this.#active.delete(run.run);
      this.#logger.error({ id: run.headers.id, task: run.headers.task, reason }, 'executor died while this task was running');
      if (!run.settled) {
        const message = withHeader(run.message, LOSSES_HEADER, lossesOf(run.delivery) - run.delivery.losses + 1);
        this.#settler?.withoutResult({ kind: 'defer', arrival: run.delivery, untilMs: this.#clock.nowMs(), message });
      }
      this.#grant(run.delivery.queue, 1);
    }
    this.#patience.check();
  }

  #onMessage(executor: number, message: FromExecutor): void {
    switch (message.type) {
      case 'outcomes': {
        const batch: { outcome: (typeof message.outcomes)[number]; run: ActiveRun }[] = [];
        for (const outcome of message.outcomes) {
          const run = this.#active.get(outcome.run);
          if (!run) continue;
          this.#active.delete(outcome.run);
          this.#executors.release(executor);
          batch.push({ outcome, run });
        }
        this.#settler?.outcomes(batch);
        for (const { run } of batch) this.#owe(run.delivery.queue);
        this.#payOwed();
        this.#patience.check();
        return;
      }
      case 'state': {
        const run = this.#active.get(message.run);
        if (run) this.#settler?.state(run, message.state, message.resultJson);
        return;
      }
      case 'call':
        void this.#calls?.answer(executor, message.call, message.request, (answer) => this.#executors.post(executor, answer));
        return;
      case 'cancel-call':
        this.#calls?.cancel(executor, message.call);
        return;
      case 'ready': {
        for (const facts of message.hello.tasks) this.#facts.set(facts.name, facts);
        this.#readyCount += 1;
        if (this.#consumer) this.#executors.open(executor);
        else if (this.#readyCount === this.#executorCount) this.#ready?.resolve(message.hello);
        return;
      }
      case 'broken':
        this.#ready?.reject(message.error);
        return;
      case 'stopped':
        this.#executorStopped.add(executor);
        this.#patience.check();
        return;
    }
  }

  #onLost(tags: ReadonlySet<string>): void {
    const runs: number[] = [];
    for (const run of this.#active.values()) if (!run.settled && tags.has(run.delivery.tag)) runs.push(run.run);
    if (runs.length > 0) this.#executors.broadcast({ type: 'abort', runs, reason: 'lease-lost' });
  }

  #owe(queue: string): void {
    this.#owed.set(queue, (this.#owed.get(queue) ?? 0) + 1);
  }

  /** Grants what is owed, unless settlements are far behind: then the broker's credit waits for them. */
  #payOwed(): void {
    if (this.#owed.size === 0 || (this.#settler?.inFlight ?? 0) > this.#options.maxUnsettled) return;
    for (const [queue, count] of this.#owed) this.#grant(queue, count);
    this.#owed.clear();
  }

  #grant(queue: string, count: number): void {
    if (!this.#stopping) this.#consumer?.grant(queue, count);
  }

  #onDrained(): void {
    this.#payOwed();
    this.#patience.check();
  }

  #isQuiet(): boolean {
    return this.#active.size === 0 && (this.#settler?.inFlight ?? 0) === 0;
  }

  async #stop(graceMs: number): Promise<StopReport> {
    if (!this.#consumer) this.#giveUp.abort(new Error('the worker is stopping'));
    const consumer = this.#consumer;
    let report: StopReport = { handedBack: 0, handBackFailed: false };
    this.#logger.info({ active: this.#active.size, graceMs }, 'stopping: no new tasks are taken');
    await consumer
      ?.pause()
      .catch((error: unknown) => this.#logger.warn({ error: toError(error).message }, 'pausing the consumer failed'));
    // What no executor has seen goes back first: a neighbour can start it at once.
    for (const run of this.#executors.takeWaiting()) {
      this.#active.delete(run.run);
      this.#settler?.withoutResult({ kind: 'requeue', arrival: run.delivery, where: 'front' });
    }
    if (!(await this.#patience.until(() => this.#isQuiet(), graceMs))) {
      this.#executors.broadcast({ type: 'abort', runs: [...this.#active.keys()], reason: 'shutdown' });
      await this.#patience.until(() => this.#isQuiet(), ABORT_MS);
    }
    this.#giveUp.abort(new Error('the worker is stopping'));
    const unfinished = [...this.#active.values()].filter((run) => !run.settled).length;
    if (consumer) {
      try {
        const handedBack = await consumer.close({ timeoutMs: CLOSE_MS });
        report = { handedBack: handedBack + this.counters.handedBack, handBackFailed: handedBack < unfinished };
      } catch (error) {
        report = { handedBack: this.counters.handedBack, handBackFailed: true };
        this.#logger.error(
          { error: toError(error).message, unfinished },
          'unfinished tasks could not be handed back; their lease will',
        );
      }
    }
    this.#active.clear();
    this.#executors.broadcast({ type: 'stop' });
    await this.#patience.until(() => this.#executorStopped.size >= this.#executorCount, CLOSE_MS);
    this.#calls?.close();
    this.#executors.closeAll();
    await Promise.allSettled([this.#store?.close(), this.#broker?.close()]);
    this.#taskLog.flush();
    this.#logger.info({ ...this.counters, ...report }, 'worker stopped');
    return report;
  }
}
