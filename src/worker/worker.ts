/**
 * Assembles a worker from its parts: options → pool (engine and executors, joined by ports) → start and stop. Two ways
 * in: `startWorker` for an app in this process, `runWorkerFromFile` for the command line.
 */
import { fileURLToPath } from 'node:url';
import type { App } from '../app/app.js';
import type { Worker, WorkerOptions } from '../app/worker-types.js';
import { codeOf } from '../core/errors.js';
import { exitNow, STUCK_EXIT_CODE } from '../core/exit-now.js';
import { createLogger, type LogFormat, type LogLevel } from '../core/log-output.js';
import type { Logger } from '../core/logger.js';
import type { WorkerReport } from '../core/worker-report.js';
import { newCounters } from './engine/state.js';
import { isExecutorThread } from './executor/load-source.js';
import { type RawWorkerOptions, resolveWorkerOptions } from './options.js';
import type { AppSource, PoolSetup, RunningPool, StopReport } from './pools/pool.js';
import { guardProcess } from './process-guard.js';

/**
 * Keeps the process alive while a worker runs: an idle one on a file broker has only unref'd timers and watchers, and Node
 * would end the process under it. The returned function lets go.
 */
function stayAlive(): () => void {
  const timer = setInterval(() => {}, 3_600_000);
  return () => clearInterval(timer);
}

/** A stop or a crash before the worker has started waits so long for the start to end. */
const EARLY_STOP_MS = 1_000;
const HAND_BACK_FAILED = 'the worker ended: asked to stop, but the broker did not confirm that unfinished tasks were handed back';
const HAND_BACK_REMEDY = 'none is lost: other workers start them when the lease is over. Look why the broker did not answer';

/** Each pool is loaded only when asked for. */
async function startPool(setup: PoolSetup): Promise<RunningPool> {
  switch (setup.options.pool) {
    case 'threads':
      return (await import('./pools/threads.js')).startThreadPool(setup);
    case 'processes':
      return (await import('./pools/processes.js')).startProcessPool(setup);
    case 'async':
      return (await import('./pools/async.js')).startAsyncPool(setup);
    case 'inline':
      return (await import('./pools/inline.js')).startInlinePool(setup);
  }
}

const emptyReport: WorkerReport = {
  ...{ name: '', uptimeMs: 0, health: null, ready: false, notReady: [], slots: 0, active: 0, executors: 0, blockedExecutors: 0 },
  ...{ counters: {}, tasks: [], findings: [] },
};

/** What `app.worker()` gives inside an executor: the app file is loaded there too, and must not start a worker in a worker. */
function inertWorker(): Worker {
  const close = async (): Promise<void> => {};
  const zero = { ...newCounters(), active: 0 };
  return {
    close,
    done: new Promise(() => {}),
    stats: async () => zero,
    report: async () => emptyReport,
    [Symbol.asyncDispose]: close,
  };
}

/** Starts a worker for an app that lives here. @throws LovageError what kept it from starting */
export async function startWorker(app: App, options: WorkerOptions = {}): Promise<Worker> {
  if (isExecutorThread()) return inertWorker();
  const pool =
    options.pool ??
    (options.module === undefined ? (app.config.brokerUrl.startsWith('memory:') ? 'inline' : 'async') : 'threads');
  const { module, logger: given, ...raw } = options;
  const resolved = resolveWorkerOptions({ ...raw, pool });
  const logger: Logger = given ?? createLogger({ level: 'info' });
  const source: AppSource =
    (pool === 'threads' || pool === 'processes') && module !== undefined
      ? { file: fileURLToPath(module), exportName: null }
      : { app };
  let finish!: (end: { readonly exitCode: number }) => void;
  const done = new Promise<{ readonly exitCode: number }>((resolve) => {
    finish = resolve;
  });
  const leave = stayAlive();
  const running = await startPool({
    options: resolved,
    source,
    logger,
    log: given ? 'forward' : { level: 'info', format: 'auto' },
    onFatal: (error) => {
      logger.error({ err: error }, 'the worker cannot go on');
      leave();
      finish({ exitCode: codeOf(error) === 'E_EXECUTOR_STUCK' ? STUCK_EXIT_CODE : 1 });
    },
  }).catch((error: unknown) => {
    leave();
    throw error;
  });
  const close = async (): Promise<void> => {
    const report = await running.stop(resolved.graceMs);
    leave();
    finish({ exitCode: report.handBackFailed ? 3 : 0 });
  };
  void running.askedToStop.then((reason) => {
    logger.warn({ reason }, 'asked to stop by remote control');
    return close();
  });
  return { close, done, stats: () => running.stats(), report: () => running.report(), [Symbol.asyncDispose]: close };
}

/** What the command line gives. */
export interface FileWorkerOptions extends RawWorkerOptions {
  readonly appFile: string;
  readonly exportName?: string | null;
  readonly logLevel?: LogLevel;
  readonly logFormat?: LogFormat;
}

/**
 * Runs a worker on an app file until it is asked to stop (TERM or INT; a second one hurries).
 * Resolves with the exit code: 0, or 3 when unfinished work could not be handed back.
 * @throws LovageError what kept it from starting, or what ended it
 */
export async function runWorkerFromFile(options: FileWorkerOptions): Promise<number> {
  const { appFile, exportName, logLevel, logFormat, ...raw } = options;
  const resolved = resolveWorkerOptions(raw);
  const log = { level: logLevel ?? 'info', format: logFormat ?? 'auto' } as const;
  const logger = createLogger(log);
  let fail!: (error: Error) => void;
  const fatal = new Promise<never>((_, reject) => {
    fail = reject;
  });
  let stopped!: (code: number) => void;
  const asked = new Promise<number>((resolve) => {
    stopped = resolve;
  });
  let running: RunningPool | null = null;
  let askedEarly = false;
  let crash: Error | null = null;
  const onStopped = (report: StopReport): void => {
    const code = crash ? 1 : report.handBackFailed ? 3 : 0;
    if (code === 3) logger.error({ exitCode: 3, remedy: HAND_BACK_REMEDY }, HAND_BACK_FAILED);
    if (report.stuck) exitNow(code);
    if (crash) fail(crash);
    else stopped(code);
  };
  const stop = (graceMs: number): void => void running?.stop(graceMs, crash?.message).then(onStopped, fail);
  const release = guardProcess({
    logger,
    onSignal: () => {
      if (running) return stop(resolved.graceMs);
      // Nothing is held yet, unless the start is in its last step: that gets a moment to end, and is stopped then.
      if (askedEarly) stopped(0);
      askedEarly = true;
      setTimeout(() => running ?? stopped(0), EARLY_STOP_MS).unref();
    },
    onCrash: (error) => {
      crash = error;
      if (running) return stop(0);
      // The first tasks run before the start is over, and what they hold must go back.
      setTimeout(() => running ?? fail(error), EARLY_STOP_MS).unref();
    },
  });
  const leave = stayAlive();
  try {
    const starting = startPool({
      options: resolved,
      source: { file: appFile, exportName: exportName ?? null },
      logger,
      log,
      onFatal: fail,
    });
    void starting.then(
      (pool) => {
        running = pool;
        void pool.askedToStop.then((reason) => {
          logger.warn({ reason }, 'asked to stop by remote control');
          stop(resolved.graceMs);
        });
        if (askedEarly || crash) stop(0);
      },
      (error: Error) => (askedEarly && !crash ? stopped(0) : fail(crash ?? error)),
    );
    return await Promise.race([asked, fatal]);
  } finally {
    leave();
    release();
  }
}
