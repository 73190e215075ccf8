// The app of the idle figures, in JavaScript, so that no TypeScript loader is counted.
import { createApp } from 'lovage';

const { LOVAGE_BENCH_BROKER, LOVAGE_BENCH_RESULTS } = process.env;

export const app = createApp({ name: 'bench', broker: LOVAGE_BENCH_BROKER, results: LOVAGE_BENCH_RESULTS });

export const noop = app.fn('bench.noop', () => null);
