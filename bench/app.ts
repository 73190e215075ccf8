/** The tasks that are measured: they do nothing, so that what is measured is Lovage. */
import { createApp } from 'lovage';

const { LOVAGE_BENCH_BROKER, LOVAGE_BENCH_RESULTS } = process.env;

export const app = createApp({
  name: 'bench',
  ...(LOVAGE_BENCH_BROKER ? { broker: LOVAGE_BENCH_BROKER } : {}),
  ...(LOVAGE_BENCH_RESULTS ? { results: LOVAGE_BENCH_RESULTS } : {}),
});

export const noop = app.fn('bench.noop', (_x: number, _y: number): null => null);
export const quiet = app.fn('bench.quiet', (_x: number, _y: number): null => null, { ignoreResult: true });
/** The body of a chord. */
export const count = app.fn('bench.count', (results: readonly null[]): number => results.length);
/** Milliseconds of the machine's monotonic clock, which all its processes share. */
export const now = (): number => Number(process.hrtime.bigint()) / 1e6;
/** When the task began. */
export const clock = app.fn('bench.clock', (): number => now());
