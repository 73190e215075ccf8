/** What becomes of revoked tasks that a worker holds already, over executors that write down what they are told. Whole: `tests/worker/terminate.test.ts`. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { systemClock } from '../../../core/clock.js';
import { silentLogger } from '../../../core/logger.js';
import type { TimedSet } from '../../../core/timed-set.js';
import { readTaskHeaders, type TaskHeaders } from '../../../wire/task-message.js';
import type { ToExecutor } from '../../port.js';
import type { OverrunOptions } from '../executors/overrun.js';
import { Revoked } from './revoked.js';
import { Terminator, type TerminatorOptions } from './terminate.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const PLAIN = { terminate: false, signal: 'SIGTERM' };
const END = { terminate: true, signal: 'SIGTERM' };

function headers(id: string, stamps: Record<string, unknown> = {}): TaskHeaders {
  return readTaskHeaders({
    ...{ contentType: '', contentEncoding: '', properties: {}, body: { encoding: 'utf8', data: '' } as const },
    headers: { task: 't', id, stamped_headers: Object.keys(stamps), stamps },
  }) as TaskHeaders;
}

/** A worker with runs at these executors; -1 = it waits for one. */
function worker(runs: Readonly<Record<string, number>>, recorded: readonly string[] = [], stamps: Record<string, unknown> = {}) {
  const active = new Map<number, never>();
  Object.entries(runs).forEach(([id, executor], index) =>
    active.set(index + 1, {
      ...{ run: index + 1, executor, headers: headers(id, stamps), delivery: { tag: id, queue: 'q' } },
      ...{ settled: false, timeLimitMs: null, startedMs: 0 },
    } as never),
  );
  const told: [executor: number, message: ToExecutor][] = [];
  const outcomes: { readonly kind: string; readonly begun?: boolean; readonly id: string }[] = [];
  const ended: number[] = [];
  const records: TimedSet = {
    add: async () => [],
    version: async () => 1,
    find: async (ids) => new Set(ids.filter((id) => recorded.includes(id))),
    list: async () => [],
  };
  const revoked = new Revoked({ records, isTold: true, clock: systemClock, onChange: () => {}, onHeard: () => {} });
  revoked.learn(1);
  const waiting = (): number => [...active.values()].filter(({ executor }: { executor: number }) => executor < 0).length;
  const executors = {
    get waiting() {
      return waiting();
    },
    withdraw: ({ executor }: { executor: number }) => executor < 0,
    post: (executor: number, message: ToExecutor) => told.push([executor, message]),
    detach: () => {},
  };
  const settler = {
    outcomes: (batch: readonly { outcome: { kind: string; begun?: boolean }; run: { headers: TaskHeaders } }[]) =>
      outcomes.push(...batch.map(({ outcome, run }) => ({ ...outcome, id: run.headers.id }))),
  };
  const host: OverrunOptions['host'] = {
    end: async (executor) => {
      ended.push(executor);
      return 'ended';
    },
  };
  const overrun = {
    ...{ host, executors, active, settler },
    ...{ logger: silentLogger, nowMs: () => 0, grant: () => {}, onStuck: () => {} },
  } as unknown as OverrunOptions;
  const terminator = new Terminator({
    ...{ revoked, executors, active, settler, logger: silentLogger, overrun: () => overrun },
    onEnded: ({ run }: { run: number }) => active.delete(run),
  } as unknown as TerminatorOptions);
  return { terminator, active, told, outcomes, ended, revoked };
}

describe('revoked tasks that a worker holds', () => {
  test('one that waits is taken back, one that runs goes on', async () => {
    const { terminator, active, told, outcomes } = worker({ waits: -1, runs: 0, other: 0 });
    expect(terminator.revoke(['waits', 'runs'], PLAIN)).toEqual([]);
    await vi.runAllTimersAsync();
    expect(outcomes).toMatchObject([{ id: 'waits', kind: 'revoked', begun: false }]);
    expect([...active.keys()]).toEqual([2, 3]);
    expect(told).toEqual([]);
  });

  test('one that runs is told to end within a second, by name and in one message an executor', async () => {
    const { terminator, active, told, ended } = worker({ a: 0, b: 0, c: 1, other: 1 });
    expect(terminator.revoke(['a', 'b', 'c'], END)).toEqual(['a', 'b', 'c']);
    await vi.advanceTimersByTimeAsync(0);
    expect(told).toEqual([
      [0, { type: 'terminate', runs: [1, 2], graceMs: 1_000 }],
      [1, { type: 'terminate', runs: [3], graceMs: 1_000 }],
    ]);
    for (const run of [1, 2, 3]) active.delete(run);
    await vi.runAllTimersAsync();
    expect(ended).toEqual([]);
  });

  test('KILL leaves no second', async () => {
    const { terminator, told } = worker({ a: 0 });
    terminator.revoke(['a'], { terminate: true, signal: 'SIGKILL' });
    await vi.advanceTimersByTimeAsync(0);
    expect(told).toEqual([[0, { type: 'terminate', runs: [1], graceMs: 0 }]]);
  });

  test.each([
    ['SIGTERM', 15],
    ['TERM', 15],
    ['kill', 9],
    ['9', 9],
    ['INT', 2],
    ['SIGNONSENSE', null],
  ])('the signal %s is remembered as %s, for the event', async (signal, number) => {
    const { terminator, active } = worker({ a: 0, other: 0 });
    terminator.revoke(['a'], { terminate: true, signal });
    await vi.advanceTimersByTimeAsync(0);
    expect(active.get(1)).toMatchObject({ terminatedBy: number });
    expect(active.get(2)).not.toHaveProperty('terminatedBy');
  });

  test('an executor that does not answer is ended, and the task is revoked', async () => {
    const { terminator, outcomes, ended } = worker({ a: 0 });
    terminator.revoke(['a'], END);
    await vi.advanceTimersByTimeAsync(2_400);
    expect(ended).toEqual([]);
    await vi.advanceTimersByTimeAsync(200);
    expect(ended).toEqual([0]);
    expect(outcomes).toMatchObject([{ id: 'a', kind: 'revoked', begun: true }]);
  });

  test('one that has started again elsewhere meanwhile, because a neighbour was ended, is told again', async () => {
    const { terminator, active, told, ended } = worker({ a: 0 });
    terminator.revoke(['a'], END);
    await vi.advanceTimersByTimeAsync(0);
    active.set(1, { ...(active.get(1) as unknown as object), executor: 4 } as never);
    await vi.advanceTimersByTimeAsync(2_600);
    expect(told.map(([executor]) => executor)).toEqual([0, 4]);
    expect(ended).toEqual([]);
    active.delete(1);
    await vi.runAllTimersAsync();
    expect(ended).toEqual([]);
  });

  test('what waits is looked up when the records have changed, and what runs is left alone', async () => {
    const { terminator, outcomes, active } = worker({ waits: -1, other: -1, runs: 0 }, ['waits', 'runs']);
    await terminator.lookAtWaiting();
    expect(outcomes.map(({ id }) => id)).toEqual(['waits']);
    expect(active.size).toBe(2);
  });

  test('by stamps, those that are here and those that come', async () => {
    const { terminator, outcomes, revoked } = worker({ waits: -1 }, [], { tenant: ['acme'] });
    terminator.revokeByStamps(new Map([['tenant', ['acme']]]), PLAIN);
    expect(outcomes.map(({ id }) => id)).toEqual(['waits']);
    expect(revoked.has(headers('later', { tenant: ['acme'] }))).toBe(true);
    expect(revoked.has(headers('later', { tenant: ['other'] }))).toBe(false);
  });
});
