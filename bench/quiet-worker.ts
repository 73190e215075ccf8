/** One worker process that logs no tasks, until it is told to stop: `quiet-worker.ts POOL CONCURRENCY`. Says `worker ready` when it is. */
import type { Logger } from 'lovage';
import { app } from './app.js';

/** Only what went wrong is worth a line here. */
const logger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error: (fields, message) => console.error(message, fields),
  child: () => logger,
};
const [pool, concurrency] = process.argv.slice(2) as [string, string];
const worker = await app.worker({
  pool: pool as 'threads' | 'processes' | 'async' | 'inline',
  concurrency: Number(concurrency),
  ...(pool === 'threads' || pool === 'processes' ? { module: new URL('./app.ts', import.meta.url).href } : {}),
  logger,
});
process.once('SIGTERM', () => void worker.close().then(() => process.exit(0)));
process.stderr.write('worker ready\n');
