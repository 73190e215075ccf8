/** `celery.chord_unlock`, which Celery's clients send where their result backend cannot count. Real clients: tests/interop. */
import { createApp, NonRetryableError, type Worker } from 'lovage';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { SOON, SOON_POLL, silent } from './chain-cases.js';

const app = createApp({ name: 'unlock', broker: 'memory:unlock', results: 'memory:unlock', logger: silent });
const alerts: string[] = [];
const sums: number[] = [];
const add = app.fn('add', (x: number, y: number) => x + y);
const fail = app.fn('fail', (): number => {
  throw new NonRetryableError('as told');
});
app.fn('sum', (numbers: number[]) => {
  const sum = numbers.reduce((total, each) => total + each, 0);
  sums.push(sum);
  return sum;
});
app.fn('alert', (failedId: string) => void alerts.push(failedId));

let worker: Worker;
beforeAll(async () => {
  worker = await app.worker({ pool: 'inline', concurrency: 10, grace: '1s', logger: silent });
});
afterAll(async () => {
  await worker.close();
  await app.close();
});

/** As Celery 5.6 was recorded to send it (vector `e-redis-chord-unlock`). */
async function unlock(parts: readonly { readonly id: string }[], bodyId: string, more: object = {}) {
  const options = { task_id: bodyId, link_error: [{ task: 'alert', args: [], kwargs: {}, options: {} }] };
  const body = { task: 'sum', args: [], kwargs: {}, options, subtask_type: null, immutable: false };
  const result = parts.map(({ id }) => [[id, null], null]);
  const kwargs = { interval: null, max_retries: null, result, ...more };
  const call = { task: 'celery.chord_unlock', args: [`group of ${bodyId}`, body], kwargs, options: {}, subtask_type: null };
  await app.signature({ ...call, immutable: true }).send();
  return app.handle(bodyId);
}

test('waits for the parts, and sends the body once with their results in order', async () => {
  const parts = [await add.with({ countdown: '1500ms' }).send(1, 1), await add.send(2, 2)];
  const body = await unlock(parts, 'sum-1', { interval: 0.2 });
  await unlock(parts, 'sum-1', { interval: 0.2 });
  expect(await body.result(SOON)).toBe(6);
  expect(sums).toEqual([6]);
});

test('ends the chord with the first part that fails, and calls the errback with the id of the body', async () => {
  const parts = [await add.with({ countdown: '1h' }).send(1, 1), await fail.send()];
  const body = await unlock(parts, 'sum-2', { interval: 0.2 });
  await expect(body.result(SOON)).rejects.toMatchObject({ type: 'ChordError', message: /as told/ });
  await expect.poll(() => alerts, SOON_POLL).toEqual(['sum-2']);
});

test('does not look for ever', async () => {
  const parts = [await add.with({ countdown: '1h' }).send(1, 1)];
  const body = await unlock(parts, 'sum-3', { interval: 0.1, max_retries: 3 });
  await expect(body.result(SOON)).rejects.toMatchObject({ type: 'ChordError', message: /deadline/ });
  await expect.poll(() => alerts, SOON_POLL).toContain('sum-3');
});
