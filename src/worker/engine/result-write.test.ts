/** Results as a store takes them: what they say with and without `extendedResults`, and for how long they are kept. */
import { expect, test } from 'vitest';
import { createFakeClock } from '../../testing/fake-clock.js';
import type { WireMessage } from '../../wire/message.js';
import { decodeResultMeta } from '../../wire/result-meta.js';
import { makeSignature } from '../../wire/signature.js';
import { encodeTaskMessage, readTaskHeaders } from '../../wire/task-message.js';
import { ResultForm } from './result-write.js';
import type { ActiveRun } from './state.js';

const NOW = Date.UTC(2026, 10, 22);
const APP_TTL_MS = 60_000;
const MESSAGE = encodeTaskMessage(
  { task: 'add', id: 'a', args: [1, new Date(NOW)], kwargs: { z: 3 }, retries: 2 },
  { nowMs: NOW },
);
const END = { state: 'FAILURE', exceptionJson: '{}', traceback: null } as const;

const form = (extendedResults: boolean): ResultForm =>
  new ResultForm({ clock: createFakeClock(NOW), resultTtlMs: APP_TTL_MS, extendedResults, nodeName: 'w1@here' });

function run(resultTtlMs: number | null, message: WireMessage = MESSAGE): ActiveRun {
  const headers = readTaskHeaders(message);
  return { headers, message, epoch: 3, delivery: { queue: 'q' }, facts: { resultTtlMs } } as unknown as ActiveRun;
}

test('a result says nothing of its call unless it is asked for', () => {
  const write = form(false).ofRun(run(APP_TTL_MS), 'SUCCESS', '4', null, ['child']);
  expect(write).toMatchObject({ id: 'a', state: 'SUCCESS', epoch: 3, ttlMs: APP_TTL_MS });
  const meta = decodeResultMeta(write.meta);
  expect(meta).toMatchObject({ result: 4, children: ['child'], dateDone: new Date(NOW), extended: null });
  expect(decodeResultMeta(form(false).ofUnsent('b', makeSignature('sum'), null, END).meta).extended).toBeNull();
});

test('with extended results it says name, arguments, worker, queue and tries', () => {
  const { meta } = form(true).ofRun(run(APP_TTL_MS), 'RETRY', '{}');
  expect(decodeResultMeta(meta)).toMatchObject({
    status: 'RETRY',
    dateDone: null,
    extended: { name: 'add', args: [1, new Date(NOW)], kwargs: { z: 3 }, worker: 'w1@here', retries: 2, queue: 'q' },
  });
});

test('a task that never was sent has a name and no worker', () => {
  const signature = makeSignature('sum', { args: [1], kwargs: { z: 3 } });
  const write = form(true).ofUnsent('b', signature, 'reply', END);
  expect(write).toMatchObject({ id: 'b', replyTo: 'reply', correlationId: 'b', ttlMs: APP_TTL_MS });
  expect(decodeResultMeta(write.meta).extended).toEqual({
    ...{ name: 'sum', args: [1], kwargs: { z: 3 }, worker: null, retries: 0, queue: null },
  });
});

test('a body that nobody can read leaves the arguments open', () => {
  const message: WireMessage = { ...MESSAGE, body: { encoding: 'utf8', data: '{' } };
  const { headers } = run(null, message);
  const { meta } = form(true).ofMessage({ headers, message }, 'q', END);
  expect(decodeResultMeta(meta).extended).toMatchObject({ name: 'add', args: null, kwargs: null, queue: 'q' });
});

test('the result of a task that keeps it for ever does not expire with those of the app', () => {
  expect(form(false).ofRun(run(null), 'SUCCESS', '4').ttlMs).toBeNull();
  expect(form(false).ofMessage(run(null), 'q', END).ttlMs).toBe(APP_TTL_MS);
});
