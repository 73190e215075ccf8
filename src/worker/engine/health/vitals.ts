/**
 * What the engine knows of its own health: is it alive, can it take tasks, and if not why; what its runs have been like. Owns the
 * health server, the heartbeat file and the one timer behind both; costs the broker nothing. What is served is made here, how in
 * `health.ts`, `heartbeat-file.ts`, `metrics.ts`.
 *
 * Alive is not ready: a broker that is away makes a worker red on `/readyz` and leaves `/livez` green, because a restart would not help.
 */
import type { Consumer } from '../../../brokers/broker.js';
import { sleep } from '../../../core/clock.js';
import { formatMs } from '../../../core/duration.js';
import type { Logger } from '../../../core/logger.js';
import type { NotReady, WorkerReport } from '../../../core/worker-report.js';
import type { EngineOptions } from '../../options.js';
import type { Outcome, TaskFacts } from '../../port.js';
import type { Executors } from '../executors/executors.js';
import type { Watchdog } from '../executors/watchdog.js';
import type { ActiveRun, EngineCounters } from '../state.js';
import { findings } from './findings.js';
import { type HealthAnswer, type HealthServer, startHealthServer } from './health.js';
import { HeartbeatFile } from './heartbeat-file.js';
import { metricsText } from './metrics.js';
import { RunTimes } from './run-times.js';

/** Drivers hear of an idle broker every 30 s at least. */
const SILENT_MS = 45_000;
/** After its deadline, a stop that has not ended never will. */
const OVERDUE_MS = 15_000;
const CLOSE_MS = 300;
const TICK_MS = 1_000;
/** The lag shown is the worst of this window and the one before. */
const LAG_WINDOW_MS = 15_000;

/** Where the signs of life are read. */
export interface VitalSources {
  readonly options: EngineOptions;
  readonly logger: Logger;
  readonly counters: EngineCounters;
  readonly active: ReadonlyMap<number, ActiveRun>;
  readonly facts: ReadonlyMap<string, TaskFacts>;
  readonly executors: Executors;
  readonly consumer: () => Consumer | null;
  readonly watchdog: () => Watchdog | null;
  /** Outcomes that are not settled yet. */
  readonly unsettled: () => number;
  /** Events for monitors that were thrown away. */
  readonly droppedEvents: () => number;
}

export class Vitals {
  readonly #sources: VitalSources;
  readonly #runTimes = new RunTimes();
  readonly #startedAtMs = Date.now();
  readonly #startedMs = performance.now();
  #disconnectedMs: number | null = null;
  #stoppingMs: number | null = null;
  #graceMs = 0;
  #lost = 0;
  #server: HealthServer | null = null;
  #heartbeat: HeartbeatFile | null = null;
  #timer: NodeJS.Timeout | null = null;
  #opening: Promise<void> = Promise.resolve();
  #tickedMs = 0;
  #lagWindowMs = 0;
  #lags: [now: number, before: number] = [0, 0];

  constructor(sources: VitalSources) {
    this.#sources = sources;
  }

  /** Starts what was asked for. @throws ConfigError `E_HEALTH` */
  open(): Promise<void> {
    this.#opening = this.#open();
    return this.#opening;
  }

  /** Ends it, without waiting for a disk that hangs. */
  async close(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    const closed = this.#opening.catch(() => {}).then(() => Promise.all([this.#server?.close(), this.#heartbeat?.close()]));
    await Promise.race([closed, sleep(CLOSE_MS)]);
  }

  /** The driver's word about the connection. */
  connection(broker: string, state: 'connected' | 'disconnected', cause?: Error): void {
    const { logger } = this.#sources;
    this.#disconnectedMs = state === 'connected' ? null : (this.#disconnectedMs ?? performance.now());
    if (state === 'connected') logger.info({ broker }, 'connected to the broker');
    else logger.warn({ broker, error: cause?.message }, 'connection to the broker lost; reconnecting');
  }

  /** Deliveries are no longer ours. */
  lost(count: number): void {
    this.#lost += count;
  }

  /** The worker takes nothing new from now on. */
  stopping(graceMs: number): void {
    this.#stoppingMs ??= performance.now();
    this.#graceMs = graceMs;
  }

  /** A run has ended. @param nowMs wall milliseconds */
  ended(run: ActiveRun, outcome: Outcome, nowMs: number): void {
    const end = outcome.kind === 'success' || outcome.kind === 'failure' || outcome.kind === 'retry' ? outcome.kind : 'other';
    const { etaMs, task } = run.headers;
    this.#runTimes.add(
      run.delivery.queue,
      task,
      end,
      outcome.runtimeMs,
      etaMs === null ? null : nowMs - outcome.runtimeMs - etaMs,
    );
  }

  get uptimeMs(): number {
    return performance.now() - this.#startedMs;
  }

  /** Tasks that have begun since the start, by name; as many names as the report has. */
  totals(): Record<string, number> {
    const totals: Record<string, number> = {};
    const count = (task: string, runs: number): void => {
      totals[task] = (totals[task] ?? 0) + runs;
    };
    for (const { task, runs } of this.#runTimes.rows()) count(task, runs);
    for (const { headers, executor } of this.#sources.active.values()) if (executor >= 0) count(headers.task, 1);
    return totals;
  }

  /** Why no task can be taken now; empty = ready. A worker that is only busy is ready. */
  notReady(): NotReady[] {
    const { consumer, executors, watchdog, unsettled, options } = this.#sources;
    const silentMs = this.#silentMs();
    if (this.#stoppingMs !== null) return [{ code: 'stopping', message: 'the worker was asked to stop and takes nothing new' }];
    if (consumer() === null || silentMs === null)
      return [
        {
          code: 'starting',
          message: 'the worker has not begun to take tasks: executors start, or the broker is not reached yet',
        },
      ];
    const reasons: NotReady[] = [];
    if (this.#disconnectedMs !== null) {
      const forMs = performance.now() - this.#disconnectedMs;
      reasons.push({ code: 'broker-disconnected', message: `there is no connection to the broker, for ${inSeconds(forMs)}` });
    } else if (silentMs > SILENT_MS) {
      reasons.push({ code: 'broker-silent', message: `the broker has not answered for ${inSeconds(silentMs)}` });
    }
    const blocked = watchdog()?.blocked() ?? 0;
    if (executors.alive === 0) reasons.push({ code: 'no-executor', message: 'no executor is alive; others are being started' });
    else if (blocked >= executors.alive) {
      const longest = inSeconds(watchdog()?.longestBlockMs() ?? 0);
      reasons.push({
        code: 'executors-blocked',
        message: `tasks keep every executor from answering, the longest for ${longest}`,
      });
    }
    if (unsettled() > options.maxUnsettled)
      reasons.push({ code: 'results-behind', message: `${unsettled()} outcomes wait for the result store or the broker` });
    return reasons;
  }

  report(): WorkerReport {
    const { options, counters, active, executors, watchdog, facts, consumer } = this.#sources;
    const reasons = this.notReady();
    const tasks = this.#runTimes.rows();
    const slots = this.#slots();
    return {
      name: options.name,
      uptimeMs: Math.round(this.uptimeMs),
      health: this.#server?.address ?? null,
      ready: reasons.length === 0,
      notReady: reasons,
      slots,
      active: active.size,
      executors: executors.alive,
      blockedExecutors: watchdog()?.blocked() ?? 0,
      counters: { ...counters, lost: this.#lost },
      tasks,
      findings: findings({
        slots,
        tasks,
        endless: [...facts.values()].filter((task) => task.endlessRetry).map((task) => task.name),
        counters,
        blocks: watchdog()?.blocks ?? 0,
        longestBlockMs: watchdog()?.longestBlockMs() ?? 0,
        lostDeliveries: this.#lost,
        brokerWarnings: consumer()?.warnings?.() ?? [],
      }),
    };
  }

  async #open(): Promise<void> {
    const { options, logger } = this.#sources;
    if (options.health !== null) {
      this.#server = await startHealthServer(
        options.health,
        {
          '/livez': () => this.#livez(),
          '/readyz': () => this.#readyz(),
          '/metrics': () => ({ status: 200, type: 'text/plain; version=0.0.4; charset=utf-8', body: this.#metrics() }),
          '/report': () => json(200, this.report()),
        },
        logger,
      );
    }
    if (options.heartbeatFile !== null) {
      const heartbeat = new HeartbeatFile(options.heartbeatFile, logger);
      await heartbeat.open(this.#heartbeatText());
      this.#heartbeat = heartbeat;
    }
    if (this.#server === null && this.#heartbeat === null) return;
    this.#tickedMs = performance.now();
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.#timer.unref();
  }

  /** Answering is the proof that the loop turns; what is left to tell is a stop that does not end. */
  #livez(): HealthAnswer {
    const overdueMs = this.#overdueMs();
    if (overdueMs > OVERDUE_MS)
      return json(503, { alive: false, reason: `the stop should have ended ${inSeconds(overdueMs)} ago` });
    return json(200, { alive: true });
  }

  #readyz(): HealthAnswer {
    const reasons = this.notReady();
    return json(reasons.length === 0 ? 200 : 503, { ready: reasons.length === 0, reasons });
  }

  #metrics(): string {
    const { options, counters, active, executors, watchdog, consumer } = this.#sources;
    const cpu = process.cpuUsage();
    return metricsText({
      node: options.name,
      ready: this.notReady().length === 0,
      counters: { ...counters },
      active: active.size,
      slots: this.#slots(),
      executors: executors.alive,
      blockedExecutors: watchdog()?.blocked() ?? 0,
      longestBlockMs: watchdog()?.longestBlockMs() ?? 0,
      blocks: watchdog()?.blocks ?? 0,
      lostDeliveries: this.#lost,
      droppedEvents: this.#sources.droppedEvents(),
      connected: consumer() !== null && this.#disconnectedMs === null,
      brokerSilentMs: this.#silentMs(),
      loopLagMs: Math.max(...this.#lags),
      rssBytes: process.memoryUsage.rss(),
      cpuSeconds: (cpu.user + cpu.system) / 1_000_000,
      startedAtMs: this.#startedAtMs,
      tasks: this.#runTimes.rows(),
    });
  }

  #heartbeatText(): string {
    const reasons = this.notReady();
    const state = reasons.length === 0 ? 'ready' : `not-ready ${reasons.map(({ code }) => code).join(' ')}`;
    return `${state}\n${new Date().toISOString()}\n`;
  }

  #tick(): void {
    const nowMs = performance.now();
    const lagMs = Math.max(0, nowMs - this.#tickedMs - TICK_MS);
    this.#tickedMs = nowMs;
    if (nowMs - this.#lagWindowMs > LAG_WINDOW_MS) {
      this.#lagWindowMs = nowMs;
      this.#lags = [lagMs, this.#lags[0]];
    } else this.#lags[0] = Math.max(this.#lags[0], lagMs);
    if (this.#overdueMs() <= OVERDUE_MS) this.#heartbeat?.beat(() => this.#heartbeatText());
  }

  #slots(): number {
    return this.#sources.executors.slots;
  }

  #silentMs(): number | null {
    const aliveMs = this.#sources.consumer()?.lastAliveMs();
    return aliveMs === undefined ? null : Math.max(0, performance.now() - aliveMs);
  }

  #overdueMs(): number {
    return this.#stoppingMs === null ? 0 : performance.now() - this.#stoppingMs - this.#graceMs;
  }
}

function inSeconds(ms: number): string {
  return formatMs(Math.round(ms / 1_000) * 1_000);
}

function json(status: 200 | 503, value: unknown): HealthAnswer {
  return { status, type: 'application/json', body: `${JSON.stringify(value)}\n` };
}
