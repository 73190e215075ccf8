/** Entry of the engine's own thread (pool `async`): runs an Engine and answers its owner. */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { codeOf, toError } from '../../core/errors.js';
import { createLogger } from '../../core/log-output.js';
import type { EngineOptions } from '../options.js';
import type { LogSettings, StopReport, WorkerStats } from '../pools/pool.js';
import { messagePortEnd } from '../pools/port-ends.js';
import type { FromExecutor, ToExecutor } from '../port.js';
import { Engine } from './engine.js';

/** What the owner tells the thread at its start. */
export interface EngineThreadData {
  readonly options: EngineOptions;
  readonly log: LogSettings;
  readonly executorPort: MessagePort;
}

export type ToEngineThread = { readonly type: 'stop'; readonly graceMs: number } | { readonly type: 'stats' };

export type FromEngineThread =
  | { readonly type: 'started' }
  | { readonly type: 'failed'; readonly code: string; readonly message: string }
  | { readonly type: 'stopped'; readonly report: StopReport }
  | { readonly type: 'stats'; readonly stats: WorkerStats };

const { options, log, executorPort } = workerData as EngineThreadData;
const owner = parentPort as NonNullable<typeof parentPort>;
const post = (message: FromEngineThread): void => owner.postMessage(message);
const engine = new Engine(options, [messagePortEnd<ToExecutor, FromExecutor>(executorPort)], createLogger(log));

owner.on('message', (message: ToEngineThread) => {
  if (message.type === 'stop') void engine.stop(message.graceMs).then((report) => post({ type: 'stopped', report }));
  else post({ type: 'stats', stats: { ...engine.counters, active: engine.activeCount } });
});
try {
  await engine.start();
  post({ type: 'started' });
} catch (thrown) {
  await engine.stop(0);
  const error = toError(thrown);
  post({ type: 'failed', code: codeOf(error) ?? 'E_INTERNAL', message: error.message });
}
