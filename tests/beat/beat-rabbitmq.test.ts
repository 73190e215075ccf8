/**
 * Schedulers as processes on a private RabbitMQ without any store: killed, stopped, without their broker, and beside workers. What a
 * decision was noted as is looked at in `rabbitmq-lead.test.ts`.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { slotTaskId } from '../../src/beat/schedules/index.js';
import { openBroker } from '../../src/brokers/from-url.js';
import { silentLogger } from '../../src/core/logger.js';
import { until } from '../../src/testing/conformance/broker-kit.js';
import { Project } from '../cli/run-cli.js';
import { type RabbitmqServer, type RabbitmqServerOptions, startRabbitmq } from '../support/rabbitmq-server.js';
import { beatCases, outageCase } from './beat-cases.js';

beatCases(
  'rabbitmq',
  async () => {
    const server = await startRabbitmq();
    return { url: server.url, close: () => server.stop() };
  },
  { repeats: 1 },
);

outageCase(
  'rabbitmq',
  async () => {
    const server = await startRabbitmq();
    return { url: server.url, kill9: () => server.kill9(), restart: () => server.restart(), close: () => server.stop() };
  },
  'beat: leads again',
);

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function stage(options: RabbitmqServerOptions = {}): Promise<{ server: RabbitmqServer; project: Project }> {
  const server = await startRabbitmq(options);
  cleanups.push(() => server.stop());
  const project = new Project();
  cleanups.push(() => project.remove());
  return { server, project };
}

const NOTING_APP = `
import { appendFileSync } from 'node:fs';
import { createApp, taskContext } from 'lovage';
export const app = createApp({ name: 'noting' });
const note = app.fn('note', () => appendFileSync('ran.txt', taskContext().id + '\\n'));
app.schedule('fast', { every: '500ms', catchUp: 'all' }, note.si());
`;

test('rabbitmq: of workers with --beat one leads, another goes on when it is killed, and each slot runs', {
  timeout: 90_000,
}, async () => {
  const { server, project } = await stage();
  project.write('app.mjs', NOTING_APP);
  const ran = (): string[] => {
    const file = join(project.folder, 'ran.txt');
    return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [];
  };
  const fromMs = Date.now();
  const worker = (name: string) =>
    project.start([...['worker', '--app', './app.mjs', '--beat', '--threads', '1', '--name', name], ...['--broker', server.url]]);
  const first = worker('w1');
  await first.until('beat: leads');
  const second = worker('w2');
  await second.until('stands by');
  await until(() => ran().length >= 3, 'slots run', 20_000);
  first.child.kill('SIGKILL');
  await second.until('beat: leads');
  const lastMs = Math.ceil(Date.now() / 500) * 500;
  const slots: number[] = [];
  for (let slot = Math.ceil(fromMs / 500) * 500; slot <= lastMs; slot += 500) slots.push(slot);
  // The schedule began with its first run. What the killed worker held runs again, behind what has come meanwhile perhaps.
  const unrun = (): number[] => {
    const ids = new Set(ran());
    const first = slots.findIndex((slot) => ids.has(slotTaskId('fast', slot)));
    return slots.slice(first).filter((slot) => !ids.has(slotTaskId('fast', slot)));
  };
  await until(
    () => unrun().length === 0,
    () => `slots run: ${unrun()}`,
    20_000,
  );
  second.child.kill('SIGTERM');
  expect((await second.finished).code).toBe(0);
  for (let slot = lastMs + 500; slot <= Date.now(); slot += 500) slots.push(slot);
  const known = new Set(slots.map((slot) => slotTaskId('fast', slot)));
  expect(
    ran().filter((id) => !known.has(id)),
    'runs of no slot',
  ).toEqual([]);
});

const QUIET_APP = `
import { createApp } from 'lovage';
export const app = createApp({ name: 'quiet' });
app.schedule('slow', { every: '6s', catchUp: 'none' }, app.fn('tick', () => 1).si());
`;

test('rabbitmq: a leader with little to do keeps the lead for longer than the broker lets a message be held', {
  timeout: 60_000,
}, async () => {
  const { server, project } = await stage({ config: ['consumer_timeout = 2000'], advanced: ['{channel_tick_interval, 200}'] });
  project.write('app.mjs', QUIET_APP);
  const beat = project.start(['beat', '--app', './app.mjs', '--broker', `${server.url}/?consumer_timeout=2s`]);
  await beat.until('beat: leads');
  const sends = (): number => beat.stderr().split('beat: sent').length - 1;
  await until(() => sends() >= 2, 'two slots were sent', 30_000);
  expect(beat.stderr()).not.toContain('the lead was lost');
  beat.child.kill('SIGTERM');
  expect((await beat.finished).code).toBe(0);
});

const WAITING_APP = `
import { createApp } from 'lovage';
export const app = createApp({ name: 'waiting' });
app.schedule('in-turn', { every: '1h', overlap: 'queue' }, app.fn('tick', () => 1).si());
`;

test('rabbitmq: an entry that must know how its run before has ended keeps a scheduler from starting, with 78', {
  timeout: 60_000,
}, async () => {
  const { server, project } = await stage();
  project.write('app.mjs', WAITING_APP);
  expect(await project.run(['beat', '--app', './app.mjs', '--broker', server.url])).toMatchObject({
    ...{ code: 78, stderr: expect.stringContaining('--results') },
  });
});

const FULL_APP = `
import { createApp } from 'lovage';
export const app = createApp({ name: 'full' });
app.schedule('fast', { every: '500ms', catchUp: 'all' }, app.fn('tick', () => 1).si().with({ queue: 'fast' }));
`;

test('rabbitmq: while the broker takes no messages nothing is decided, and afterwards each slot is caught up', {
  timeout: 90_000,
}, async () => {
  const { server, project } = await stage();
  project.write('app.mjs', FULL_APP);
  const beat = project.start(['beat', '--app', './app.mjs', '--broker', server.url]);
  await beat.until('beat: sent');
  server.ctl('set_vm_memory_high_watermark', '0');
  await beat.until('nothing can be decided now');
  const fullMs = Date.now();
  server.ctl('set_vm_memory_high_watermark', '0.6');
  await beat.until('the store answers again');
  const broker = await openBroker({ url: server.url, logger: silentLogger, role: 'client' });
  cleanups.push(() => broker.close());
  const ids = async (): Promise<string[]> =>
    (await broker.peek('fast', 1_000)).map((one) => ('message' in one ? String(one.message.headers['id']) : 'garbage'));
  const last = Math.ceil(Date.now() / 500) * 500;
  await until(async () => (await ids()).includes(slotTaskId('fast', last)), 'slots are sent again', 20_000);
  beat.child.kill('SIGTERM');
  expect((await beat.finished).code).toBe(0);
  const sent = await ids();
  const first = Math.floor((fullMs - 4_000) / 500) * 500;
  for (let slot = first; slot <= last; slot += 500) expect(sent, `the slot ${slot}`).toContain(slotTaskId('fast', slot));
});
