import { getEventListeners } from 'node:events';
import { expect, test } from 'vitest';
import { within } from './within.js';

const never = new Promise<never>(() => {});

test('passes on what the work gives, and leaves no listener', async () => {
  const { signal } = new AbortController();
  expect(await within(Promise.resolve(5), 1_000, signal)).toBe(5);
  await expect(within(Promise.reject(new Error('no')), 1_000, signal)).rejects.toThrow('no');
  expect(getEventListeners(signal, 'abort')).toEqual([]);
});

test('a deadline is a timeout with nothing sent', async () => {
  await expect(within(never, 10, undefined)).rejects.toMatchObject({ code: 'E_PUBLISH_TIMEOUT', outcome: 'not-sent' });
});

test('a signal gives up, before and during the work', async () => {
  const controller = new AbortController();
  const waiting = within(never, 10_000, controller.signal);
  const reason = new Error('enough');
  controller.abort(reason);
  await expect(waiting).rejects.toMatchObject({ code: 'E_PUBLISH_FAILED', outcome: 'not-sent', cause: reason });
  await expect(within(never, 10_000, controller.signal)).rejects.toMatchObject({ cause: reason });
});
