/** `lovage schedule`, `lovage beat` and `lovage worker --beat` as a user types them, on the embedded file. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { until } from '../../src/testing/conformance/broker-kit.js';
import { Project } from '../cli/run-cli.js';

const APP = `
import { appendFileSync } from 'node:fs';
import { createApp } from 'lovage';
export const app = createApp({ name: 'shop', routes: { 'slow.*': { queue: 'slow' } } });
app.fn('note', (text) => { appendFileSync('ran.txt', text + '\\n'); return text; });
app.schedule('in-code', { cron: '0 2 * * *', timezone: 'Europe/Berlin' }, app.fn('nightly', () => 1).si());
`;
let project: Project;
beforeEach(() => {
  project = new Project();
  project.write('app.mjs', APP);
});
afterEach(() => project.remove());

const schedule = (...args: string[]) => project.run(['schedule', ...args, '--app', './app.mjs']);
const json = async (...args: string[]): Promise<unknown> => JSON.parse((await schedule(...args, '--json')).stdout);

test('a person adds, previews, edits, pauses, resumes, runs and removes an entry while a worker with --beat runs', {
  timeout: 60_000,
}, async () => {
  const worker = project.start(['worker', '--app', './app.mjs', '--beat', '--threads', '1']);
  await worker.until('worker ready');
  await worker.until('beat: leads');
  expect(await schedule('add', 'mine', '--every', '1h', '--task', 'note', '--args', '["hello"]')).toMatchObject({ code: 0 });
  expect(await json('next', 'mine', '--count', '2')).toHaveLength(2);
  const taskId = (await schedule('run', 'mine')).stdout.trim();
  expect(taskId).toMatch(/^[0-9a-f-]{36}$/);
  await until(async () => JSON.stringify(await json('show', 'mine')).includes('SUCCESS'), 'the run has ended', 20_000);
  expect(await json('show', 'mine')).toMatchObject({ sent: 1, runs: [{ slot: null, taskId, state: 'SUCCESS', error: null }] });
  expect(await schedule('edit', 'mine', '--every', '1s', '--args', '["again"]')).toMatchObject({ code: 0 });
  await until(async () => ((await json('show', 'mine')) as { sent: number }).sent >= 2, 'its new time holds', 20_000);
  expect(await schedule('pause', 'mine')).toMatchObject({ code: 0 });
  expect(await json('list')).toMatchObject({
    ...{ app: 'shop', leader: expect.any(String), count: 2 },
    entries: [
      { id: 'in-code', source: 'code', words: 'At 02:00, Europe/Berlin' },
      { id: 'mine', paused: true, next: null, source: 'store' },
    ],
  });
  expect(await schedule('resume', 'mine')).toMatchObject({ code: 0 });
  expect(await schedule('remove', 'mine')).toMatchObject({ code: 0 });
  worker.child.kill('SIGTERM');
  expect((await worker.finished).code).toBe(0);
});

test('what cannot be done is refused with a code and an exit code', { timeout: 60_000 }, async () => {
  expect(await schedule('show', 'nothing')).toMatchObject({ code: 65, stderr: expect.stringContaining('E_SCHEDULE_MISSING') });
  expect(await schedule('add', 'x', '--cron', '99 * * * *', '--task', 'note')).toMatchObject({
    ...{ code: 78, stderr: expect.stringContaining('E_SCHEDULE') },
  });
  expect((await schedule('add', 'x', '--every', '1h')).code).toBe(2);
  expect((await schedule('add', 'x', '--every', '1h', '--cron', '@daily', '--task', 'note')).code).toBe(2);
  expect((await schedule('add', 'x', '--every', '1h', '--task', 'slow.one')).code).toBe(0);
  expect(await schedule('add', 'x', '--every', '1h', '--task', 'note')).toMatchObject({
    ...{ code: 65, stderr: expect.stringContaining('E_SCHEDULE_TAKEN') },
  });
  expect(await json('show', 'x')).toMatchObject({ signature: { options: { queue: 'slow' } } });
});

test('what a schedule does when the clock is changed, and where an interval counts from, are flags too', {
  timeout: 120_000,
}, async () => {
  const zone = ['--cron', '30 2 * * *', '--timezone', 'Europe/Berlin', '--task', 'note'];
  expect(await schedule('add', 'night', ...zone, '--dst', 'skip,both')).toMatchObject({ code: 0 });
  expect(await json('show', 'night')).toMatchObject({ options: { dst: { skipped: 'skip', repeated: 'both' } } });
  expect(await schedule('edit', 'night', '--dst', 'second')).toMatchObject({ code: 0 });
  expect(await json('show', 'night')).toMatchObject({ options: { dst: { repeated: 'second' } } });
  const hourly = ['--every', '1h', '--task', 'note', '--anchor'];
  expect(await schedule('add', 'hour', ...hourly, '2026-01-01T00:17:00Z')).toMatchObject({ code: 0 });
  expect(await json('next', 'hour', '--count', '1')).toEqual([
    { slot: expect.stringMatching(/:17:00\.000Z$/), local: expect.anything() },
  ]);
  expect(await schedule('add', 'after', ...hourly, 'last-run')).toMatchObject({ code: 0 });
  expect(await json('show', 'after')).toMatchObject({ options: { anchor: 'last-run' } });
  // what belongs to one kind goes away with it
  expect(await schedule('edit', 'night', '--every', '1h')).toMatchObject({ code: 0 });
  expect(await json('show', 'night')).toMatchObject({ options: expect.not.objectContaining({ dst: expect.anything() }) });
  for (const wrong of ['sometimes', 'skip,next'])
    expect((await schedule('add', 'x', ...zone, '--dst', wrong)).code, wrong).toBe(2);
  expect((await schedule('add', 'x', ...hourly, 'yesterday')).code).toBe(2);
  expect((await schedule('add', 'x', ...hourly, 'last-run', '--dst', 'skip')).code).toBe(78);
});

test('an import from Celery takes what it can, and names the rest', { timeout: 60_000 }, async () => {
  const settings = {
    nightly: { task: 'note', schedule: { minute: '30', hour: '2' }, args: ['x'] },
    broken: { task: 'note', schedule: 'not a schedule' },
  };
  project.write('beat.json', JSON.stringify(settings));
  const { code, stderr } = await schedule('import', './beat.json');
  expect([code, stderr.includes('broken')]).toEqual([78, true]);
  expect(await json('show', 'nightly')).toMatchObject({ task: 'note', signature: { args: ['x'] } });
});

test('on RabbitMQ without a store entries of the code can be previewed and nothing else, and the answer says what to do', {
  timeout: 60_000,
}, async () => {
  for (const command of [['list'], ['pause', 'in-code'], ['add', 'x', '--every', '1h', '--task', 'note']]) {
    const { code, stderr } = await schedule(...command, '--broker', 'amqp://127.0.0.1:1');
    expect([code, stderr.includes('E_CONFIG_CONFLICT'), stderr.includes('--results')]).toEqual([78, true, true]);
  }
  expect(await json('next', 'in-code', '--count', '2', '--broker', 'amqp://127.0.0.1:1')).toHaveLength(2);
  expect(await schedule('next', 'x', '--broker', 'amqp://127.0.0.1:1')).toMatchObject({ code: 65 });
});

test('a scheduler without a broker, or without an app file, ends with the code of its cause', {
  timeout: 60_000,
}, async () => {
  const amqp = await project.run(['beat', '--app', './app.mjs', '--broker', 'amqp://127.0.0.1:1', '--connect-tries', '1']);
  expect(amqp.code).toBe(69);
  expect((await project.run(['beat'])).code).toBe(2);
  expect((await project.run(['beat', '--app', './nothing.mjs'])).code).toBe(65);
  const away = await project.run(['beat', '--app', './app.mjs', '--broker', 'redis://127.0.0.1:1/0', '--connect-tries', '1']);
  expect(away.code).toBe(69);
});
