/**
 * The engine: every connection of a worker and its whole life. It never runs user code. It owns the start and stop
 * order of its parts; deliveries flow through `consumer.ts`, executors through `executors/`, outcomes through `settle.ts`.
 *
 * Life: starting → running → the states of `shutdown.ts` → closed.
 */
import type { Arrival, Broker, Consumer } from '../../brokers/broker.js';
import { LamportClock } from '../../control/lamport-clock.js';
import { type Clock, systemClock } from '../../core/clock.js';
import type { Logger } from '../../core/logger.js';
import type { WorkerReport } from '../../core/worker-report.js';
import { defaultResultUrl } from '../../results/from-url.js';
import type { ResultStore } from '../../results/result-store.js';
import type { EngineOptions } from '../options.js';
import type { StopReport, WorkerStats } from '../pools/pool.js';
import { logFromPort } from '../pools/port-log.js';
import type { EngineEnd, FromExecutor, TaskFacts } from '../port.js';
import { openConnections, patiently } from './connect.js';
import { Remote } from './control/remote.js';
import { Credit } from './credit.js';
import { Executors } from './executors/executors.js';
import { giveBackLost, type OverrunOptions } from './executors/overrun.js';
import { type EngineHost, Roster } from './executors/roster.js';
import { watchExecutors } from './executors/watch.js';
import type { Watchdog } from './executors/watchdog.js';
import { Vitals } from './health/vitals.js';
import { type DeliveryPath, layPath } from './path.js';
import { Patience } from './patience.js';
import { announceReady } from './reporting/announce.js';
import { TaskLog } from './reporting/task-log.js';
import type { Settler } from './settle.js';
import { shutDown } from './shutdown.js';
import { type ActiveRun, type EngineCounters, newCounters } from './state.js';

export class Engine {
  readonly counters: EngineCounters = newCounters();
  readonly #options: EngineOptions;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #lamport = new LamportClock();
  readonly #active = new Map<number, ActiveRun>();
  readonly #facts = new Map<string, TaskFacts>();
  /** What remote control changed of them. */
  readonly #changes = new Map<string, Partial<TaskFacts>>();
  readonly #executors: Executors;
  readonly #taskLog: TaskLog;
  readonly #giveUp = new AbortController();
  readonly #patience = new Patience();
  readonly #credit: Credit;
  #broker: Broker | null = null;
  #store: ResultStore | null = null;
  #consumer: Consumer | null = null;
  #path: DeliveryPath | null = null;
  #remote: Remote | null = null;
  #overrun: OverrunOptions | null = null;
  #watchdog: Watchdog | null = null;
  readonly #roster: Roster;
  readonly #host: EngineHost | null;
  readonly #vitals: Vitals;
  #stopping: Promise<StopReport> | null = null;
  #askToStop!: (reason: string) => void;
  /** Resolves when remote control asks this worker to stop; whoever owns it does. */
  readonly askedToStop = new Promise<string>((resolve) => (this.#askToStop = resolve));

  /** @param host `null`: the executor shares this loop, and nobody could end it */
  constructor(
    options: EngineOptions,
    ends: readonly EngineEnd[],
    logger: Logger,
    host: EngineHost | null = null,
    clock: Clock = systemClock,
  ) {
    this.#options = options;
    this.#logger = logger;
    this.#host = host;
    this.#clock = clock;
    this.#taskLog = new TaskLog(logger, clock, async () => (await this.#broker?.deadLetters.count()) ?? 0);
    this.#credit = new Credit({
      consumer: () => (this.#stopping ? null : this.#consumer),
      unsettled: () => this.#path?.settler.inFlight ?? 0,
      maxUnsettled: options.maxUnsettled,
    });
    this.#executors = new Executors({
      slotsEach: options.slotsPerExecutor,
      runsEach: options.tasksPerExecutor,
      count: ends.length,
      onMessage: (executor, message) => this.#onMessage(executor, message),
      onGiven: (run) => this.#onGiven(run),
      onSpent: (executor) => this.#roster.spent(executor),
      onEmpty: (executor) => this.#roster.empty(executor),
    });
    this.#roster = new Roster({
      ...{ executors: this.#executors, facts: this.#facts, changes: this.#changes, logger, count: ends.length },
      ...{ crew: host?.crew ?? null, maxTasks: options.tasksPerExecutor, onCount: () => this.#remote?.pool.counted() },
    });
    for (const [executor, end] of ends.entries()) this.#executors.attach(executor, end);
    this.#vitals = new Vitals({
      ...{ options, logger, counters: this.counters, active: this.#active, facts: this.#facts, executors: this.#executors },
      ...{ consumer: () => this.#consumer, watchdog: () => this.#watchdog, unsettled: () => this.#path?.settler.inFlight ?? 0 },
      droppedEvents: () => this.#path?.events.dispatcher.dropped ?? 0,
    });
  }

  stats(): WorkerStats {
    return { ...this.counters, active: this.#active.size };
  }

  /** What the worker knows of itself, bounded. */
  report(): WorkerReport {
    return this.#vitals.report();
  }

  /** Waits for the executors, connects, and takes the first tasks. @throws LovageError what kept it from starting */
  async start(): Promise<void> {
    const [hello] = await Promise.all([this.#roster.ready, this.#vitals.open()]);
    const options = this.#options;
    const brokerUrl = options.brokerUrl ?? hello.brokerUrl;
    const { broker, store } = await openConnections({
      ...{ brokerUrl, queues: hello.queues },
      resultUrl: options.resultUrl ?? (options.brokerUrl === null ? hello.resultUrl : defaultResultUrl(options.brokerUrl)),
      timeoutMs: options.connectTimeoutMs,
      tries: options.connectTries,
      logger: this.#logger,
      signal: this.#giveUp.signal,
    });
    this.#broker = broker;
    this.#store = store;
    const path = layPath({
      ...{ options, hello, broker, store, consumer: () => this.#consumer as Consumer, executors: this.#executors },
      ...{ active: this.#active, facts: this.#facts, counters: this.counters, logger: this.#logger, taskLog: this.#taskLog },
      ...{
        clock: this.#clock,
        lamport: this.#lamport,
        signal: this.#giveUp.signal,
        grant: (queue: string) => this.#credit.giveBack(queue),
      },
      overrun: () => (this.#host === null ? null : this.#overrun),
      onDrained: () => {
        this.#credit.pay();
        this.#patience.check();
      },
    });
    const { intake, settler, dispatcher, revoked } = path;
    this.#path = path;
    this.#watch(settler);
    this.#roster.open();
    const remote = new Remote({
      ...{ ...path, options, hello, brokerUrl, broker, store, consumer: () => (this.#stopping ? null : this.#consumer) },
      ...{ active: this.#active, facts: this.#facts, changes: this.#changes, executors: this.#executors, roster: this.#roster },
      ...{ vitals: this.#vitals, clock: this.#clock, lamport: this.#lamport, logger: this.#logger, onShutdown: this.#askToStop },
    });
    this.#remote = remote;
    const patience = { tries: options.connectTries, logger: this.#logger, signal: this.#giveUp.signal };
    await patiently('broker', () => remote.prepare(), patience);
    const { queues, credit: slots } = remote.subscriptions.wish;
    const starting: Arrival[] = [];
    this.#consumer = await broker.consume({
      queues,
      credit: slots,
      leaseMs: options.leaseMs,
      consumerName: options.name,
      logger: this.#logger,
      // A driver may deliver before consume() has resolved; until then there is nothing to settle with.
      onArrivals: (arrivals) => (this.#consumer ? intake.arrivals(arrivals) : starting.push(...arrivals)),
      onLost: (tags) => this.#onLost(new Set(tags)),
      onRevocations: (version) => revoked.learn(version),
      onState: (state, cause) => {
        this.#vitals.connection(broker.name, state, cause);
        revoked.doubt();
        if (state !== 'connected') return;
        // broadcasts may have been missed
        void path.pauses.refresh();
        path.chords.overdue.soon();
      },
    });
    dispatcher.start();
    if (starting.length > 0) intake.arrivals(starting.splice(0));
    await remote.open();
    announceReady({ name: options.name, broker, store, queues, slots, facts: this.#facts, logger: this.#logger });
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

  /** Adds an executor under a number that none had before. */
  addExecutor(executor: number, end: EngineEnd): void {
    this.#executors.attach(executor, end);
  }

  /** Gives tasks to an executor that was told to wait when it said `ready`. */
  openExecutor(executor: number): void {
    this.#executors.open(executor);
    this.#remote?.pool.counted();
  }

  /** The executor's thread or process has ended: what ran there goes back, with the loss counted. */
  executorDied(executor: number, reason: string): void {
    this.#roster.gone(executor);
    this.#watchdog?.forget(executor);
    if (this.#overrun) giveBackLost(executor, reason, this.#overrun);
    this.#patience.check();
  }

  #onMessage(executor: number, message: FromExecutor): void {
    switch (message.type) {
      case 'outcomes': {
        const batch: { outcome: (typeof message.outcomes)[number]; run: ActiveRun }[] = [];
        const nowMs = this.#clock.nowMs();
        for (const outcome of message.outcomes) {
          const run = this.#active.get(outcome.run);
          // An executor that was given up may still have said something about a run that starts again elsewhere.
          if (!run || run.executor !== executor) continue;
          this.#active.delete(outcome.run);
          this.#executors.release(executor);
          this.#vitals.ended(run, outcome, nowMs);
          batch.push({ outcome, run });
        }
        this.#path?.settler.outcomes(batch);
        for (const { run } of batch) this.#credit.owe(run.delivery.queue);
        this.#credit.pay();
        this.#patience.check();
        return;
      }
      case 'state':
      case 'event': {
        const run = this.#active.get(message.run);
        if (run?.executor === executor) this.#path?.settler.told(run, message);
        return;
      }
      case 'call':
        void this.#path?.calls.answer(executor, message.call, message.request, (answer) =>
          this.#executors.post(executor, answer),
        );
        return;
      case 'cancel-call':
        this.#path?.calls.cancel(executor, message.call);
        return;
      case 'commanded':
        return this.#remote?.commands.hear(message);
      case 'pong':
        return this.#watchdog?.pong(executor);
      case 'log':
        logFromPort(this.#logger, message);
        return;
      default:
        this.#roster.hear(executor, message);
        this.#patience.check();
    }
  }

  #onLost(tags: ReadonlySet<string>): void {
    this.#vitals.lost(tags.size);
    const runs: number[] = [];
    for (const run of this.#active.values()) {
      if (run.settled || !tags.has(run.delivery.tag)) continue;
      if (this.#path?.events.on) this.#path.events.cancelled(run);
      if (this.#executors.withdraw(run)) {
        this.#active.delete(run.run);
        this.#credit.grant(run.delivery.queue, 1);
      } else runs.push(run.run);
    }
    if (runs.length > 0) this.#executors.broadcast({ type: 'abort', runs, reason: 'lease-lost' });
  }

  #onGiven(run: ActiveRun): void {
    run.startedMs = performance.now();
    if (this.#path?.events.on) this.#path.events.started(run);
    if (this.#watchdog === null) return;
    run.blockedBeforeMs = this.#watchdog.blockedMs(run.executor);
    this.#watchdog.watch();
  }

  #watch(settler: Settler): void {
    const { overrun, watchdog } = watchExecutors({
      ...{ host: this.#host, executors: this.#executors, active: this.#active, settler, counters: this.counters },
      ...{ logger: this.#logger, nowMs: () => this.#clock.nowMs(), grant: (queue: string) => this.#credit.grant(queue, 1) },
      onStuck: (error) => void this.stop(0).finally(() => this.#host?.onStuck(error)),
      onEnded: () => this.#patience.check(),
    });
    this.#overrun = overrun;
    this.#watchdog = watchdog;
  }

  async #stop(graceMs: number): Promise<StopReport> {
    this.#vitals.stopping(graceMs);
    this.#remote?.stopping();
    const giveUp = (): void => this.#giveUp.abort(new Error('the worker is stopping'));
    if (!this.#consumer) giveUp();
    const report = await shutDown({
      graceMs,
      consumer: this.#consumer,
      broker: this.#broker,
      store: this.#store,
      settler: this.#path?.settler ?? null,
      executors: this.#executors,
      active: this.#active,
      counters: this.counters,
      patience: this.#patience,
      logger: this.#logger,
      giveUp,
      stopIntake: () => this.#path?.intake.stop(),
      executorsStopped: () => this.#executors.allStopped,
      farewell: async () => void (await Promise.all([this.#remote?.close(), this.#path?.events.dispatcher.close()])),
    });
    this.#path?.calls.close();
    this.#watchdog?.close();
    this.#roster.close();
    await this.#vitals.close();
    this.#taskLog.flush();
    this.#logger.info({ ...this.counters, ...report }, 'worker stopped');
    return report;
  }
}
