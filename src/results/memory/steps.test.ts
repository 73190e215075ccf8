/** Steps in memory take no room beyond their time. */
import { expect, test } from 'vitest';
import { createFakeClock } from '../../testing/fake-clock.js';
import { MemorySteps } from './steps.js';

test('steps of tasks whose time is over are dropped by those who store others', () => {
  const clock = createFakeClock(0);
  const steps = new MemorySteps(clock, () => 0);
  const put = (taskId: string): unknown => steps.put({ taskId, name: 'one', resultJson: '1', epoch: 0, ttlMs: 1_000 });
  for (let nth = 0; nth < 100; nth++) put(`old ${nth}`);
  expect(steps.size).toBe(100);
  clock.advance(1_000);
  for (let nth = 0; nth < 100; nth++) put(`new ${nth}`);
  expect(steps.size).toBeLessThan(150);
  for (let nth = 0; nth < 100; nth++) steps.forget(`new ${nth}`);
  expect(steps.get('old 7', 'one')).toBeNull();
});
