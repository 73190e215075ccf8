/** The commands on Redis: what depends on a server. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type RedisServer, startRedis } from '../support/redis-server.js';
import { Project } from './run-cli.js';

const project = new Project();
let redis: RedisServer;
let guarded: RedisServer;
beforeAll(async () => {
  [redis, guarded] = await Promise.all([startRedis(), startRedis()]);
  project.write(
    'tasks.ts',
    "import { createApp } from 'lovage';\nexport const app = createApp();\nexport const add = app.fn('math.add', (x: number, y: number) => x + y);\n",
  );
});
afterAll(async () => {
  project.remove();
  await Promise.all([redis.stop(), guarded.stop()]);
});

test('a worker takes its URL from the environment, and send prints the result', async () => {
  const env = { LOVAGE_BROKER_URL: redis.url, LOVAGE_APP: './tasks.ts' };
  const worker = project.start(['worker', '--queues', 'fast:3,slow:1', '--name', 'w1@%h'], env);
  await worker.until('worker ready');
  expect((await project.run(['send', 'math.add', '--args', '[2,3]', '--queue', 'fast', '--wait', '10s'], env)).stdout).toBe(
    '5\n',
  );
  worker.child.kill('SIGTERM');
  expect((await worker.finished).code).toBe(0);
});

describe('credentials that are refused exit 77', () => {
  const wrong = (): string => guarded.url.replace('redis://', 'redis://:wrong@');
  beforeAll(async () => {
    const { Redis } = await import('ioredis');
    const client = new Redis(guarded.url);
    await client.config('SET', 'requirepass', 'right');
    client.disconnect();
  });

  test.each([
    ['queues', 'list'],
    ['send', 'math.add', '--args', '[1,2]'],
    ['result', 'x'],
    ['worker', '--app', './tasks.ts'],
  ])('%s %s', async (...args) => {
    const { code, stdout, stderr } = await project.run([...args.filter(Boolean), '--broker', wrong()]);
    expect(stderr).toContain('E_BROKER_AUTH');
    expect(stderr).not.toContain('wrong');
    expect({ code, stdout }).toEqual({ code: 77, stdout: '' });
  });
});
