/**
 * Pool `threads` (the command line's default): the engine on this thread, executors in worker threads that load the app
 * file themselves. A thread that dies is replaced; what ran in it goes back with the loss counted.
 */
import { Worker as Thread } from 'node:worker_threads';
import { reconnectDelayMs } from '../../core/backoff.js';
import { ConfigError, TaskError } from '../../core/errors.js';
import { Engine } from '../engine/engine.js';
import type { ThreadData } from '../executor/thread-main.js';
import type { EngineEnd, FromExecutor, ToExecutor } from '../port.js';
import type { PoolSetup, RunningPool } from './pool.js';
import { messagePortEnd } from './port-ends.js';

/** A replacement that dies within this time counts as another failure in a row, and the next one waits longer. */
const STABLE_MS = 10_000;

export async function startThreadPool(setup: PoolSetup): Promise<RunningPool> {
  const { options, source, logger, log } = setup;
  if (!('file' in source)) {
    throw new ConfigError(
      'E_CONFIG_CONFLICT',
      "pool 'threads' loads the app in each thread: give `module: import.meta.url` of the file that defines the app, or use pool 'async' or 'inline'",
    );
  }
  const threads: Thread[] = [];
  let stopping = false;
  let engine: Engine | null = null;
  let failStart: ((error: Error) => void) | null = null;

  const spawn = (index: number, failures: number): EngineEnd => {
    const data: ThreadData = { file: source.file, exportName: source.exportName, log, index };
    const thread = new Thread(new URL('../executor/thread-main.js', import.meta.url), {
      workerData: data,
      name: `lovage-${index}`,
    });
    const startedMs = performance.now();
    let cause = 'it exited';
    threads[index] = thread;
    thread.on('error', (error: unknown) => {
      cause = error instanceof Error ? (error.stack ?? error.message) : String(error);
    });
    thread.on('exit', (code) => {
      if (stopping) {
        engine?.executorDied(index, 'stopping');
        return;
      }
      const reason = `executor thread ${index} died (code ${code}): ${cause}`;
      if (failStart) return failStart(new TaskError('E_EXECUTOR_START', reason));
      logger.error({ executor: index, code, cause }, 'executor thread died; starting another');
      engine?.executorDied(index, reason);
      const failed = performance.now() - startedMs < STABLE_MS ? failures + 1 : 0;
      setTimeout(
        () => {
          if (!stopping) engine?.replaceExecutor(index, spawn(index, failed));
        },
        failed === 0 ? 0 : reconnectDelayMs(failed, Math.random()),
      ).unref();
    });
    return messagePortEnd<ToExecutor, FromExecutor>(thread);
  };

  const ends = Array.from({ length: options.executors }, (_, index) => spawn(index, 0));
  engine = new Engine(options.engine, ends, logger);
  try {
    await Promise.race([
      engine.start(),
      new Promise<never>((_, reject) => {
        failStart = reject;
      }),
    ]);
  } catch (error) {
    stopping = true;
    await engine.stop(0).catch(() => {});
    await Promise.all(threads.map((thread) => thread.terminate()));
    throw error;
  }
  failStart = null;
  return {
    async stop(graceMs) {
      stopping = true;
      const report = await (engine as Engine).stop(graceMs);
      await Promise.all(threads.map((thread) => thread.terminate()));
      return report;
    },
    stats: async () => ({ ...(engine as Engine).counters, active: (engine as Engine).activeCount }),
  };
}
