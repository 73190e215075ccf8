/**
 * Pool `threads` (the command line's default): the engine on this thread, executors in worker threads that load the app
 * file themselves. A thread that dies is replaced; what ran in it goes back with the loss counted.
 */
import { Worker as Thread } from 'node:worker_threads';
import { ConfigError } from '../../core/errors.js';
import type { ThreadData } from '../executor/thread-main.js';
import type { FromExecutor, ToExecutor } from '../port.js';
import { type Member, startCrew } from './crew.js';
import type { PoolSetup, RunningPool } from './pool.js';
import { messagePortEnd } from './port-ends.js';

export async function startThreadPool(setup: PoolSetup): Promise<RunningPool> {
  const { source, log } = setup;
  if (!('file' in source)) {
    throw new ConfigError(
      'E_CONFIG_CONFLICT',
      "pool 'threads' loads the app in each thread: give `module: import.meta.url` of the file that defines the app, or use pool 'async' or 'inline'",
    );
  }
  const spawn = (executor: number): Member => {
    const entered = new Int32Array(new SharedArrayBuffer(4));
    const data: ThreadData = { file: source.file, exportName: source.exportName, log, executor, entered };
    const thread = new Thread(new URL('../executor/thread-main.js', import.meta.url), {
      workerData: data,
      name: `lovage-${executor}`,
    });
    let cause = 'it exited';
    thread.on('error', (error: unknown) => {
      cause = error instanceof Error ? (error.stack ?? error.message) : String(error);
    });
    return {
      end: { ...messagePortEnd<ToExecutor, FromExecutor>(thread), entered: () => entered[0] ?? 0 },
      gone: new Promise((resolve) => {
        thread.once('exit', (code) => resolve(`executor thread ${executor} died (code ${code}): ${cause}`));
      }),
      kill: () => void thread.terminate(),
      dismiss: () => void thread.terminate(),
    };
  };
  return startCrew(setup, false, spawn);
}
