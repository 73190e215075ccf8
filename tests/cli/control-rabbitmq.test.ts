/** Remote control, pauses and single messages by the command line on RabbitMQ, which counts no listeners, lists no queues and shows no messages. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type RabbitmqServer, startRabbitmq } from '../support/rabbitmq-server.js';
import { Project } from './run-cli.js';

const project = new Project();
let server: RabbitmqServer;

const run = (...args: string[]) => project.run(args, { LOVAGE_BROKER_URL: server.url });
async function json(...args: string[]): Promise<unknown> {
  const { code, stdout, stderr } = await run(...args, '--json');
  expect({ code, stderr, args }).toEqual({ code: 0, stderr: '', args });
  return JSON.parse(stdout);
}

beforeAll(async () => {
  server = await startRabbitmq();
  project.write(
    'tasks.ts',
    "import { createApp } from 'lovage';\nexport const app = createApp({ defaultQueue: 'fast' });\nexport const add = app.fn('math.add', (x: number, y: number) => x + y);\n",
  );
  const args = ['worker', '--app', './tasks.ts', '--name', 'one@suite', '--queues', 'fast,slow', '--pool', 'inline'];
  await project.start(args, { LOVAGE_BROKER_URL: server.url }).until('worker ready');
}, 120_000);
afterAll(async () => {
  project.remove();
  await server?.stop();
});

test('the timeout is waited out, unless nodes are named', { timeout: 60_000 }, async () => {
  expect(await json('inspect', 'ping')).toEqual({ 'one@suite': { ok: 'pong' } });
  expect(await json('inspect', 'active_queues', '-d', 'one@suite', '--timeout', '50s')).toMatchObject({
    'one@suite': [{ name: 'fast' }, { name: 'slow' }],
  });
});

test('a pause is kept in the broker, and messages of a paused queue are moved and removed', { timeout: 120_000 }, async () => {
  expect(await json('queues', 'pause', 'slow')).toMatchObject({
    paused: ['slow'],
    workers: { 'one@suite': { queues: ['slow'], tasks: [] } },
  });
  for (const id of ['a', 'b', 'c']) await run('send', 'math.add', '--id', id, '--args', '[1,2]', '--queue', 'slow');
  expect(await json('queues', 'list', 'slow')).toMatchObject([{ queue: 'slow', ready: 3, paused: true }]);
  expect(await run('queues', 'find', 'a', '--queue', 'slow')).toMatchObject({ code: 78 });
  expect(await run('queues', 'remove', 'a', '--yes')).toMatchObject({ code: 2 });
  expect(await json('queues', 'remove', 'a', '--queue', 'slow', '--yes')).toMatchObject({ removed: 1, missing: [] });
  expect(await json('queues', 'move', 'slow', 'elsewhere', 'c')).toMatchObject({ moved: 1 });
  expect(await json('queues', 'list', 'slow', 'elsewhere')).toMatchObject([{ ready: 1 }, { ready: 1 }]);
  expect(await json('queues', 'resume', 'slow')).toMatchObject({ resumed: ['slow'] });
  for (;;) {
    const [slow] = (await json('queues', 'list', 'slow')) as { readonly ready: number }[];
    if (slow?.ready === 0) break;
  }
});
