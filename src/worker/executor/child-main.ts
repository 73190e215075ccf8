/**
 * Entry of an executor process (pool `processes`): loads the app file and joins it to the engine over the child's channel.
 * It lives as long as its parent wants: signals are the parent's business, and without a parent it ends at once, even while
 * a task keeps its loop (`parent-watch.ts`). Next stop: `executor.ts`.
 */
import { Worker as Thread } from 'node:worker_threads';
import { codeOf, toError } from '../../core/errors.js';
import type { LogSettings } from '../pools/pool.js';
import { type LastWords, parentChannelEnd } from '../pools/port-ends.js';
import { partLogger } from '../pools/port-log.js';
import { Executor } from './executor.js';
import { loadSource, markExecutorThread } from './load-source.js';

/** What the pool tells its child: JSON in the first argument. */
export interface ChildData {
  readonly file: string;
  readonly exportName: string | null;
  readonly log: LogSettings;
  /** Its number; in its log lines. */
  readonly executor: number;
  /** Resident bytes beyond which it asks to be replaced; `null` = no limit. */
  readonly maxRssBytes: number | null;
}

// Supervisors signal every process they see, terminals their whole group. How a worker stops is decided once, by the parent.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => {});
process.once('disconnect', () => process.exit(0));

const data = JSON.parse(process.argv[2] ?? '{}') as ChildData;
const end = parentChannelEnd();
const logger = partLogger(data.log, { executor: data.executor }, (line) => end.post(line));
markExecutorThread();

/** What nobody caught ends the process, as it would without this, but the log learns of it in its own form. */
process.on('uncaughtException', (error: unknown) => {
  // The app has a handler of its own: then it decides.
  if (process.listenerCount('uncaughtException') > 1) return;
  const words: LastWords = { type: 'last-words', cause: toError(error).stack ?? toError(error).message };
  process.send?.(words);
  process.exit(1);
});

try {
  const app = await loadSource({ file: data.file, exportName: data.exportName });
  await new Executor(app, end, logger, { maxRssBytes: data.maxRssBytes }).start();
} catch (thrown) {
  const error = toError(thrown);
  end.post({ type: 'broken', error: { code: codeOf(error) ?? 'E_APP_FILE', message: error.message, stack: error.stack ?? '' } });
}

// Only now: it must not delay the first task, and is up by the time that one can block this thread for long.
const watch = new Thread(new URL('./parent-watch.js', import.meta.url), {
  // The user's loaders and flags are for the user's code.
  execArgv: [],
  env: {},
  resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2 },
  name: 'lovage-parent-watch',
});
watch.on('error', (error) => logger.warn({ err: error }, 'an executor cannot watch its parent'));
watch.unref();
