/**
 * One worker process that drains a queue and tells how fast: `worker-process.ts POOL CONCURRENCY WARM-UP COUNT`.
 * The clock runs from the end of the warm-up tasks to the last of COUNT more, so that start-up and cold code are left out.
 */
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
const [pool, concurrency, warmUp, count] = process.argv.slice(2) as [string, string, string, string];
const worker = await app.worker({
  pool: pool as 'threads' | 'processes' | 'async' | 'inline',
  concurrency: Number(concurrency),
  ...(pool === 'threads' || pool === 'processes' ? { module: new URL('./app.ts', import.meta.url).href } : {}),
  logger,
});

const reached = async (target: number): Promise<number> => {
  for (;;) {
    const { succeeded } = await worker.stats();
    if (succeeded >= target) return performance.now();
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
};
const startedMs = await reached(Number(warmUp));
const before = (await worker.stats()).succeeded;
const endedMs = await reached(Number(warmUp) + Number(count));
const after = (await worker.stats()).succeeded;
process.stdout.write(
  `${JSON.stringify({ perSecond: (after - before) / ((endedMs - startedMs) / 1_000), rssMiB: process.memoryUsage.rss() / 2 ** 20 })}\n`,
);
await worker.close();
await app.close();
process.exit(0);
