import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { silentLogger } from '../../core/logger.js';
import { type OrphanOptions, takeOrphans } from './orphans.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('a queue of orphans that does not answer costs the connection, and nothing else is done to it: what lies there may be all there is', async () => {
  const events: string[] = [];
  const options = {
    session: { open: true, takeOrphans: () => new Promise<never>(() => {}) },
    // whatever else is asked of these fails the test
    topology: { orphans: async () => 'lovage.orphans.q', silences: new Map() },
    link: { abandon: ({ message }: Error) => events.push(`abandoned: ${message}`) },
    logger: { ...silentLogger, error: (_: unknown, message: string) => events.push(message) },
  } as unknown as OrphanOptions;
  const taken = takeOrphans('q', options);
  await vi.advanceTimersByTimeAsync(4_900);
  expect(events).toEqual([]);
  await vi.advanceTimersByTimeAsync(200);
  await taken;
  expect(events).toEqual([
    'the queue of what comes back does not answer; the connection is made anew',
    'abandoned: lovage.orphans.q does not answer',
  ]);
  for (let again = 0; again < 2; again += 1) {
    const taking = takeOrphans('q', options);
    await vi.advanceTimersByTimeAsync(5_100);
    await taking;
  }
  expect(events).toHaveLength(6);
  // it would cost every task that runs longer than that its ack
  await takeOrphans('q', options);
  expect(events.slice(6)).toEqual(['the queue of what comes back does not answer; going on without it']);
  // it may have come back by the next connection
  const asking = takeOrphans('q', options);
  await vi.advanceTimersByTimeAsync(5_100);
  await asking;
  expect(events.at(-1)).toContain('abandoned');
});
