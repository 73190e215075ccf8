/** One of a batch of results is refused for its epoch, and whose its delivery is takes long to learn: the others are settled meanwhile. */
import { expect, test } from 'vitest';
import type { Consumer, Settlement } from '../../brokers/broker.js';
import { silentLogger } from '../../core/logger.js';
import type { ResultStore } from '../../results/result-store.js';
import { createFakeClock } from '../../testing/fake-clock.js';
import { encodeTaskMessage, readTaskHeaders } from '../../wire/task-message.js';
import type { Outcome } from '../port.js';
import { Aftermath, type AftermathOptions, type EndedRun } from './following/aftermath.js';
import { ResultForm } from './result-write.js';
import { Settler, type SettlerOptions } from './settle.js';
import { newCounters } from './state.js';

const KINDS = ['plain', 'workflow'] as const;

/** A run that has succeeded, and is its own delivery's tag. */
function success(id: string, kind: (typeof KINDS)[number]): EndedRun {
  const message = encodeTaskMessage({ task: 'add', id, args: [1, 1], kwargs: {} }, { nowMs: 0 });
  const outcome = { kind: 'success', resultJson: '2', runtimeMs: 1, children: [], ...(kind === 'workflow' && { canvas: true }) };
  const run = { headers: readTaskHeaders(message), message, epoch: 0, settled: false, facts: { resultTtlMs: null } };
  const delivery = { kind: 'delivery', tag: id, queue: 'q', redelivered: false };
  return { outcome: outcome as unknown as Outcome, run: { ...run, delivery } as unknown as EndedRun['run'] };
}

/** The store refuses what was not claimed of these; `learn` lets the broker tell that their deliveries are ours. */
function settlerThatRefuses(refused: ReadonlySet<string>) {
  const settled: string[] = [];
  const waiting: { readonly count: number; readonly resolve: () => void }[] = [];
  let learn = (): void => {};
  const known = new Promise<boolean>((resolve) => {
    learn = () => resolve(true);
  });
  const consumer = {
    holds: () => true,
    secure: () => known,
    settle: async (settlements: readonly Settlement[]) => {
      settled.push(...settlements.map(({ arrival }) => arrival.tag));
      for (const { count, resolve } of waiting) if (settled.length >= count) resolve();
      return settlements.map(() => 'settled');
    },
  };
  const store: Pick<ResultStore, 'set' | 'claim'> = {
    set: async (writes) => writes.map(({ id, epoch }) => (refused.has(id) && epoch === 0 ? 'fenced' : 'stored')),
    claim: async () => ({ epoch: 7 }),
  };
  const clock = createFakeClock(0);
  const shared = {
    ...{ store: store as ResultStore, clock, logger: silentLogger, counters: newCounters(), claimTtlMs: 60_000 },
    consumer: () => consumer as unknown as Consumer,
    signal: new AbortController().signal,
    events: { on: false, send: () => {} },
    continuation: { send: async () => [], consequences: () => ({ writes: [], errbacks: [], parts: [] }) },
  };
  const aftermath = new Aftermath({ ...shared, chords: { report: async () => {} } } as unknown as AftermathOptions);
  let drained = (): void => {};
  const settler = new Settler({
    ...{ ...shared, aftermath, taskLog: { succeeded: () => {} } },
    results: new ResultForm({ clock, resultTtlMs: null, extendedResults: false, nodeName: 'w' }),
    onDrained: () => drained(),
  } as unknown as SettlerOptions);
  return {
    ...{ settler, settled, learn: () => learn() },
    settledIn: (count: number) => new Promise<void>((resolve) => void waiting.push({ count, resolve })),
    drained: () =>
      new Promise<void>((resolve) => {
        drained = () => settler.inFlight === 0 && resolve();
      }),
  };
}

test.each(KINDS)('the other results of a %s batch do not wait for one that was refused', async (kind) => {
  const { settler, settled, settledIn, learn, drained } = settlerThatRefuses(new Set(['b']));
  const others = settledIn(2);
  const all = drained();
  settler.outcomes(['a', 'b', 'c'].map((id) => success(id, kind)));
  await others;
  expect(settled).toEqual(['a', 'c']);
  learn();
  await all;
  expect(settled).toEqual(['a', 'c', 'b']);
});

test('nor do those of the other kind that ended in the same moment', async () => {
  const { settler, settled, settledIn, learn, drained } = settlerThatRefuses(new Set(['a', 'b']));
  const others = settledIn(2);
  const all = drained();
  settler.outcomes([success('a', 'plain'), success('b', 'workflow'), success('c', 'plain'), success('d', 'workflow')]);
  await others;
  expect([...settled].sort()).toEqual(['c', 'd']);
  learn();
  await all;
  expect([...settled].sort()).toEqual(['a', 'b', 'c', 'd']);
});
