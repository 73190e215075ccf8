import { describe, expect, test } from 'vitest';
import { MAX_NAMES, OTHER, RunTimes } from './run-times.js';

describe('run times', () => {
  test('median and 99th percentile are right to a fifth, from a tenth of a millisecond to an hour', () => {
    for (const scale of [0.1, 5, 300, 36_000]) {
      const times = new RunTimes();
      for (let ms = 1; ms <= 100; ms++) times.add('q', 't', 'success', ms * scale, null);
      const [row] = times.rows();
      expect(row?.runs).toBe(100);
      expect(row?.meanMs).toBeCloseTo(50.5 * scale, 1);
      expect(Math.abs((row?.p50Ms ?? 0) / (50 * scale) - 1)).toBeLessThan(0.2);
      expect(Math.abs((row?.p99Ms ?? 0) / (99 * scale) - 1)).toBeLessThan(0.2);
      expect(row?.maxMs).toBeCloseTo(100 * scale, 1);
    }
  });

  test('what ran long ago fades from the percentiles and stays in the counts', () => {
    const times = new RunTimes();
    for (let n = 0; n < 20_000; n++) times.add('q', 't', 'success', 1_000, null);
    for (let n = 0; n < 20_000; n++) times.add('q', 't', 'success', 10, null);
    const [row] = times.rows();
    expect(row?.runs).toBe(40_000);
    expect(row?.p50Ms).toBeLessThan(15);
  });

  test('failures, retries and the lateness of runs with a time to begin at are counted apart', () => {
    const times = new RunTimes();
    times.add('q', 't', 'failure', 1, 30);
    times.add('q', 't', 'retry', 1, 50);
    times.add('q', 't', 'success', 1, null);
    expect(times.rows()).toMatchObject([{ runs: 3, failures: 1, retries: 1, lateMeanMs: 40 }]);
  });

  test('names beyond the first thousand are summed up, so that a flood of names takes no memory', () => {
    const times = new RunTimes();
    for (let n = 0; n < 5_000; n++) times.add('q', `t${n}`, 'success', 1, null);
    const rows = times.rows();
    expect(rows).toHaveLength(MAX_NAMES + 1);
    expect(rows.find((row) => row.task === OTHER)?.runs).toBe(4_000);
    expect(rows.reduce((sum, row) => sum + row.runs, 0)).toBe(5_000);
  });
});
