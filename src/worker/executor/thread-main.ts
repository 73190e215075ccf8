/** Entry of an executor thread (pool `threads`): loads the app file and joins it to the engine's port. */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { codeOf, toError } from '../../core/errors.js';
import type { LogSettings } from '../pools/pool.js';
import { messagePortEnd } from '../pools/port-ends.js';
import { partLogger } from '../pools/port-log.js';
import type { FromExecutor, ToExecutor } from '../port.js';
import { Executor } from './executor.js';
import { loadSource, markExecutorThread } from './load-source.js';

/** What the pool tells its thread. */
export interface ThreadData {
  readonly file: string;
  readonly exportName: string | null;
  readonly log: LogSettings;
  /** Its number; in its log lines. */
  readonly executor: number;
  /** Shared with the engine: the run whose handler was entered and has not yielded yet. */
  readonly entered: Int32Array;
}

const data = workerData as ThreadData;
const end = messagePortEnd<FromExecutor, ToExecutor>(parentPort as MessagePort);
const logger = partLogger(data.log, { executor: data.executor }, (line) => end.post(line));
markExecutorThread();
try {
  const app = await loadSource({ file: data.file, exportName: data.exportName });
  await new Executor(app, end, logger, { entered: data.entered }).start();
} catch (thrown) {
  const error = toError(thrown);
  end.post({ type: 'broken', error: { code: codeOf(error) ?? 'E_APP_FILE', message: error.message, stack: error.stack ?? '' } });
}
