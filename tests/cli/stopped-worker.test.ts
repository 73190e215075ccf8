/** Remote control and pauses while the only worker is stopped (SIGSTOP): each command ends by itself and says that nobody answered. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type RedisServer, startRedis } from '../support/redis-server.js';
import { Project, type RunningCli } from './run-cli.js';

const NOTE = /^0 of the 1 that listen answered within 2s: who did not is stopped or busy, and learns of it when it goes on\n$/;

const project = new Project();
let redis: RedisServer;
let worker: RunningCli;
let env: Readonly<Record<string, string>>;
beforeAll(async () => {
  redis = await startRedis();
  env = { LOVAGE_BROKER_URL: redis.url };
  project.write(
    'tasks.ts',
    "import { createApp } from 'lovage';\nexport const app = createApp();\nexport const add = app.fn('math.add', (x: number, y: number) => x + y);\n",
  );
  const args = ['worker', '--app', './tasks.ts', '--name', 'still@suite', '--queues', 'slow', '--pool', 'inline'];
  worker = project.start(args, env);
  await worker.until('worker ready');
  worker.child.kill('SIGSTOP');
}, 60_000);
afterAll(async () => {
  // A stopped process would keep its end to itself.
  worker?.child.kill('SIGCONT');
  project.remove();
  await redis?.stop();
});

test.each([
  [['inspect', 'ping'], 'all workers, and 1 listen'],
  [['inspect', 'ping', '--destination', 'still@suite'], 'still@suite, and 1 listen'],
  [['control', 'rate_limit', 'math.add', '1/s'], 'all workers, and 1 listen'],
])('lovage %j ends with 69: nobody answered, but somebody listens', { timeout: 60_000 }, async (args, asked) => {
  const { code, stdout, stderr } = await project.run(args, env);
  expect({ code, stdout }).toEqual({ code: 69, stdout: '' });
  expect(stderr).toContain(`no worker answered within 1s: asked were ${asked}`);
  expect(stderr).toContain('E_WORKER_UNREACHABLE');
});

test('a pause holds, says who has not answered, and is known to that worker when it goes on', { timeout: 120_000 }, async () => {
  const paused = await project.run(['queues', 'pause', 'slow'], env);
  expect(paused).toMatchObject({ code: 0, stdout: 'paused: slow\n', stderr: expect.stringMatching(NOTE) });
  const resumed = await project.run(['queues', 'resume', 'slow'], env);
  expect(resumed).toMatchObject({ code: 0, stdout: 'resumed: slow\n', stderr: expect.stringMatching(NOTE) });
  const again = await project.run(['queues', 'pause', 'slow', '--json'], env);
  expect(JSON.parse(again.stdout)).toEqual({ paused: ['slow'], workers: {}, unaware: [], heardBy: 1 });
  worker.child.kill('SIGCONT');
  await worker.until('paused by people');
  const { stdout } = await project.run(['inspect', 'ping', '--timeout', '30s'], env);
  expect(stdout).toBe('NODE         ANSWER\nstill@suite  pong\n');
});
