/** How runs end, as schedulers hear it; and that they never wait for more than so many. */
import { expect, test } from 'vitest';
import { silentLogger } from '../core/logger.js';
import { openResultStore } from '../results/from-url.js';
import { encodeResultMeta } from '../wire/result-meta.js';
import { MOST_WAITS, Outcomes, type RunEnd } from './outcomes.js';

test('of more runs than it waits for, the oldest is not told', async () => {
  const results = await openResultStore({ url: 'memory:beat-outcomes', logger: silentLogger, role: 'client' });
  const ends = new Map<string, RunEnd>();
  let heard = (): void => {};
  const outcomes = new Outcomes({
    ...{ results, logger: silentLogger, nowMs: () => 7 },
    onEnd: (_, taskId, end) => {
      ends.set(taskId, end);
      heard();
    },
  });
  for (let n = 0; n <= MOST_WAITS; n += 1) outcomes.watch('entry', `t${n}`);
  outcomes.watch('entry', 't5');
  expect(outcomes.size).toBe(MOST_WAITS);
  const last = `t${MOST_WAITS}`;
  const told = new Promise<void>((resolve) => {
    heard = () => {
      if (ends.has(last)) resolve();
    };
  });
  for (const id of ['t0', last]) {
    const resultJson = '{"exc_type":"ValueError","exc_message":["bad","input"],"exc_module":"builtins"}';
    const meta = encodeResultMeta({ status: 'FAILURE', resultJson, traceback: null, children: [], dateDone: 5_000, taskId: id });
    await results.set([{ id, state: 'FAILURE', meta, epoch: 0, ttlMs: 60_000, replyTo: null, correlationId: null }]);
  }
  await told;
  expect([...ends]).toEqual([[last, { state: 'FAILURE', endedMs: 5_000, error: 'ValueError: bad, input' }]]);
  outcomes.clear();
  expect(outcomes.size).toBe(0);
  await results.close();
});
