import { describe, expect, test } from 'vitest';
import type { TaskRunTimes } from '../../../core/worker-report.js';
import { newCounters } from '../state.js';
import { findings, type Measured } from './findings.js';

function row(task: string, p50Ms: number, runs: number, more: Partial<TaskRunTimes> = {}): TaskRunTimes {
  return {
    ...{ queue: 'q', task, runs, failures: 0, retries: 0, totalMs: p50Ms * runs, meanMs: p50Ms, p50Ms, p99Ms: 2 * p50Ms },
    ...{ maxMs: 3 * p50Ms, lateMeanMs: null, idleMs: 0 },
    ...more,
  };
}
const nothing: Measured = {
  ...{ slots: 20, tasks: [], endless: [], counters: newCounters(), blocks: 0, longestBlockMs: 0, lostDeliveries: 0 },
  brokerWarnings: [],
};
const codes = (measured: Partial<Measured>): string[] => findings({ ...nothing, ...measured }).map(({ code }) => code);

describe('findings', () => {
  test('a worker with nothing odd has none', () => {
    expect(codes({ tasks: [row('a', 5, 1_000), row('b', 20, 1_000)] })).toEqual([]);
  });

  test('fast and slow tasks in one queue are named with their figures, and with the way out', () => {
    const [finding] = findings({ ...nothing, tasks: [row('report.make', 5_000, 80), row('mail.send', 5, 4_000)] });
    expect(finding?.code).toBe('mixed-queue');
    for (const part of [
      '"q"',
      'mail.send (p50 5ms, p99 10ms, 4000 runs)',
      'report.make (p50 5s',
      '95 %',
      '250ms',
      '--queues q:16,slow:4',
    ])
      expect(finding?.text).toContain(part);
  });

  test('in two queues they are no mix, nor when the slow one is rare, recent runs are missing, or the slots hardly notice', () => {
    const fast = row('mail.send', 5, 4_000);
    expect(codes({ tasks: [row('report.make', 5_000, 80, { queue: 'slow' }), fast] })).toEqual([]);
    expect(codes({ tasks: [row('report.make', 5_000, 2), fast] })).toEqual([]);
    expect(codes({ tasks: [row('report.make', 5_000, 80, { idleMs: 3_600_000 }), fast] })).toEqual([]);
    expect(codes({ tasks: [row('report.make', 600, 4), row('mail.send', 20, 4_000)] })).toEqual([]);
  });

  test('endless retries, blocks, lost deliveries and abandoned tasks are each told with their numbers', () => {
    const found = findings({
      ...{ slots: 20, tasks: [row('api.call', 5, 30, { retries: 29 })], endless: ['api.call'], blocks: 3, longestBlockMs: 4_000 },
      brokerWarnings: ['the server throws keys away'],
      ...{ lostDeliveries: 7, counters: { ...newCounters(), fenced: 2, abandoned: 5 } },
    });
    expect(found.map(({ code }) => code)).toEqual([
      'endless-retry',
      'blocked-loop',
      'lost-deliveries',
      'broker-warning',
      'abandoned-tasks',
    ]);
    expect(found[0]?.text).toContain('29 retries');
    expect(found[1]?.text).toContain('3 times; one does not answer now, for 4s');
    expect(found[2]?.text).toContain('7 deliveries');
    expect(found[3]?.text).toBe('the server throws keys away');
    expect(found[4]?.text).toContain('5 tasks');
  });

  test('a thousand endless tasks are a handful of sentences', () => {
    expect(codes({ endless: Array.from({ length: 1_000 }, (_, n) => `t${n}`) })).toHaveLength(4);
  });
});
