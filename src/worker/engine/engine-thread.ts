/** Entry of the engine's own thread (pool `async`): runs an Engine and answers its owner. */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { codeOf, toError } from '../../core/errors.js';
import { exitNow, STUCK_EXIT_CODE, STUCK_REMEDY } from '../../core/exit-now.js';
import { createLogger } from '../../core/log-output.js';
import type { WorkerReport } from '../../core/worker-report.js';
import type { EngineOptions } from '../options.js';
import type { LogSettings, StopReport, WorkerStats } from '../pools/pool.js';
import { messagePortEnd } from '../pools/port-ends.js';
import { partLogger } from '../pools/port-log.js';
import type { FromExecutor, PortLog, ToExecutor } from '../port.js';
import { Engine } from './engine.js';

/** What the owner tells the thread at its start. */
export interface EngineThreadData {
  readonly options: EngineOptions;
  readonly log: LogSettings;
  readonly executorPort: MessagePort;
  /** Shared with the executor: the run whose handler it has entered. */
  readonly entered: Int32Array;
}

export type ToEngineThread =
  | { readonly type: 'stop'; readonly graceMs: number; readonly crash?: string }
  | { readonly type: 'stats' | 'report' };

export type FromEngineThread =
  | PortLog
  | { readonly type: 'started' }
  | { readonly type: 'failed'; readonly code: string; readonly message: string }
  | { readonly type: 'stopped'; readonly report: StopReport }
  | { readonly type: 'stats'; readonly stats: WorkerStats }
  | { readonly type: 'report'; readonly report: WorkerReport }
  | { readonly type: 'asked-to-stop'; readonly reason: string };

const { options, log, executorPort, entered } = workerData as EngineThreadData;
const owner = parentPort as NonNullable<typeof parentPort>;
const post = (message: FromEngineThread): void => owner.postMessage(message);
const logger = partLogger(log, {}, post);
const end = { ...messagePortEnd<ToExecutor, FromExecutor>(executorPort), entered: () => entered[0] ?? 0 };
const engine = new Engine(options, [end], logger, {
  // The executor is the main thread. Nothing ends that but the end of the process, and it cannot be told of it either.
  host: { end: async () => 'stuck' },
  onStuck: (error) => {
    // A logger on the main thread would write this when that thread turns again, and it does not.
    (log === 'forward' ? createLogger() : logger).error(
      { exitCode: STUCK_EXIT_CODE, code: codeOf(error), remedy: STUCK_REMEDY },
      `the worker ended: ${error.message}`,
    );
    exitNow(STUCK_EXIT_CODE);
  },
});

void engine.askedToStop.then((reason) => post({ type: 'asked-to-stop', reason }));
owner.on('message', (message: ToEngineThread) => {
  if (message.type === 'stop') {
    if (message.crash !== undefined) engine.executorDied(0, message.crash);
    void engine.stop(message.graceMs).then((report) => post({ type: 'stopped', report }));
  } else if (message.type === 'stats') post({ type: 'stats', stats: engine.stats() });
  else post({ type: 'report', report: engine.report() });
});
try {
  await engine.start();
  post({ type: 'started' });
} catch (thrown) {
  await engine.stop(0);
  const error = toError(thrown);
  post({ type: 'failed', code: codeOf(error) ?? 'E_INTERNAL', message: error.message });
}
