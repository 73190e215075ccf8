/**
 * Runs an app in a test: memory broker, a worker on the same loop, a clock that only moves when told. Nothing of the app
 * is replaced: messages are encoded, admitted, run, retried and settled as everywhere else.
 */
import { randomUUID } from 'node:crypto';
import type { App } from '../app/app.js';
import { ClientGateway } from '../app/client-gateway.js';
import type { RemoteTask } from '../app/task-types.js';
import { holdMemorySpace, openMemoryBroker } from '../brokers/memory/index.js';
import { type Duration, durationMs } from '../core/duration.js';
import { type Logger, silentLogger } from '../core/logger.js';
import { holdMemoryResults } from '../results/memory/index.js';
import { Engine } from '../worker/engine/engine.js';
import { Executor } from '../worker/executor/executor.js';
import { resolveWorkerOptions } from '../worker/options.js';
import { inlinePair } from '../worker/pools/port-ends.js';
import { type AnyTask, expectNotSent, expectSent } from './assertions.js';
import { advanceAndDrain, drainUntilIdle, type Workplace } from './drain.js';
import { createFakeClock } from './fake-clock.js';
import { RecordingGateway, type SentTask } from './sent-tasks.js';

/** Options of `memoryApp`. */
export interface MemoryAppOptions {
  /** What time it is at first. @defaultValue 2026-01-01T00:00:00Z */
  readonly start?: Date;
  /** Queues to work on besides those that the app, its tasks and its routes name. */
  readonly queues?: readonly string[];
  /** Real time that one `drain()` may take. @defaultValue `'10s'` */
  readonly drainTimeout?: Duration;
  /** @defaultValue none: tasks log nothing */
  readonly logger?: Logger;
}

/** What one `drain` or `advance` did. */
export interface DrainReport {
  readonly succeeded: number;
  readonly failed: number;
  /** Tries that ended with another one to come. */
  readonly retried: number;
  readonly expired: number;
  /** Messages that could not be run; see `dead()`. */
  readonly parked: number;
}

/** A message that could not be run. */
export interface DeadTask {
  readonly queue: string;
  readonly code: string;
  readonly reason: string;
}

/** An app under test. */
export interface MemoryApp {
  /** What was sent and confirmed, oldest first; the newest 10,000. */
  readonly sent: readonly SentTask[];
  /** Forgets what was sent so far. */
  clearSent(): void;
  /**
   * The first send of the task, with exactly these arguments if some are given.
   * @throws AssertionError when there is none
   */
  expectSent<A extends readonly unknown[]>(task: RemoteTask<A, unknown>, ...args: A | []): SentTask;
  /** @throws AssertionError when the task was sent */
  expectNotSent(task: AnyTask): void;
  /** Runs all that is due now, and what that sends, until nothing is left. */
  drain(): Promise<DrainReport>;
  /** Moves the clock: countdowns, retries and expiries on the way happen at their time. Drains before and after. */
  advance(by: Duration): Promise<DrainReport>;
  /** What time it is for the app. */
  now(): Date;
  /** Messages that could not be run, oldest first. */
  dead(): readonly DeadTask[];
  /** Ends the worker, runs the onStop hooks, and gives the app its own connections back. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Queues that the worker takes: a message for another one stays where it is, as for a real worker. */
function queuesOf(app: App, more: readonly string[]): string[] {
  const { config, registry } = app;
  const named = [
    ...registry.all().map(({ options }) => options.queue),
    ...Object.values(config.routes).map(({ queue }) => queue),
  ];
  return [...new Set([config.defaultQueue, ...named.filter((queue) => typeof queue === 'string'), ...more])];
}

/**
 * Starts an app in memory; define its tasks first. Its own broker and result URLs are not touched.
 * @throws LovageError what kept the worker from starting, an `onStart` hook for example
 */
export async function memoryApp(app: App, options: MemoryAppOptions = {}): Promise<MemoryApp> {
  const url = `memory:test-${randomUUID()}`;
  const logger = options.logger ?? silentLogger;
  const clock = createFakeClock((options.start ?? new Date('2026-01-01T00:00:00Z')).getTime());
  const queues = queuesOf(app, options.queues ?? []);
  const space = holdMemorySpace(url, { clock });
  const results = holdMemoryResults(url, { clock });
  const release = (): void => {
    space.release();
    results.release();
  };
  const { engine: engineOptions } = resolveWorkerOptions({
    pool: 'inline',
    broker: url,
    results: url,
    queues,
    name: 'test@memory',
    // Each heartbeat would be a stop of the clock on its way.
    events: false,
  });
  const pair = inlinePair();
  const engine = new Engine(engineOptions, [pair.engine], logger, null, clock);
  try {
    await Promise.all([engine.start(), new Executor(app, pair.executor, logger).start()]);
  } catch (error) {
    release();
    throw error;
  }
  const gateway = new RecordingGateway(new ClientGateway({ brokerUrl: url, resultUrl: url, queues: app.config.queues, logger }));
  app.attachGateway(gateway, clock);
  const broker = await openMemoryBroker({ url, logger, role: 'client' });

  const place: Workplace = {
    timeoutMs: durationMs(options.drainTimeout ?? '10s', 'drainTimeout'),
    busy: async () => {
      const waiting = (await broker.depth(queues)).filter(({ ready, unacked }) => ready > 0 || (unacked ?? 0) > 0);
      if (waiting.length > 0)
        return waiting.map(({ queue, ready, unacked }) => `queue ${queue} (${ready} waiting, ${unacked ?? 0} running)`);
      const { active } = engine.stats();
      return active > 0 ? [`${active} running`] : [];
    },
  };
  const report = async (work: () => Promise<void>): Promise<DrainReport> => {
    const before = { ...engine.counters };
    await work();
    const done = (key: keyof DrainReport): number => engine.counters[key] - before[key];
    return {
      succeeded: done('succeeded'),
      failed: done('failed'),
      retried: done('retried'),
      expired: done('expired'),
      parked: done('parked'),
    };
  };
  let closing: Promise<void> | null = null;
  const close = async (): Promise<void> => {
    await engine.stop(1_000);
    app.attachGateway(null);
    await Promise.all([gateway.close(), broker.close()]);
    release();
  };
  const closeOnce = (): Promise<void> => {
    closing ??= close();
    return closing;
  };
  return {
    get sent() {
      return gateway.sent;
    },
    clearSent: () => gateway.clear(),
    expectSent: (task, ...args) => expectSent(gateway.sent, task, args.length === 0 ? null : args),
    expectNotSent: (task) => expectNotSent(gateway.sent, task),
    drain: () => report(() => drainUntilIdle(place)),
    advance: (by) => report(() => advanceAndDrain(clock, durationMs(by, 'advance'), place)),
    now: () => new Date(clock.nowMs()),
    dead: () => space.dead().map(({ letter: { queue, code, reason } }) => ({ queue, code, reason })),
    close: closeOnce,
    [Symbol.asyncDispose]: closeOnce,
  };
}
