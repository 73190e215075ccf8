/** A result that Redis refuses (its key holds something else) keeps none of its neighbours waiting; its message is parked and can be replayed. */

import { Redis } from 'ioredis';
import { type App, createApp } from 'lovage';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Project, type RunningCli } from '../cli/run-cli.js';
import { type RedisServer, redisMissing, startRedis } from '../support/redis-server.js';

const missing = redisMissing();
if (missing && process.env['CI'] === 'true') throw new Error(missing);

describe.skipIf(missing !== null)(missing === null ? 'a refused result' : `not run: ${missing}`, () => {
  const project = new Project();
  let server: RedisServer;
  let redis: Redis;
  let worker: RunningCli;
  let app: App;
  beforeAll(async () => {
    server = await startRedis();
    redis = new Redis(server.url, { protocol: 2 });
    project.write(
      'tasks.mjs',
      `import { createApp } from 'lovage';
export const app = createApp({ name: 'x' });
let end; // one for all, so that all of them end in one turn
app.fn('t.later', async (n) => { await (end ??= new Promise((resolve) => setTimeout(resolve, 1_000))); return n; });`,
    );
    worker = project.start([
      'worker',
      '--app',
      './tasks.mjs',
      '--pool',
      'async',
      '--concurrency',
      '20',
      '--broker',
      server.url,
      '--log-format',
      'json',
    ]);
    await worker.until('worker ready');
    app = createApp({ name: 'sender', broker: server.url });
  });
  afterAll(async () => {
    await app?.close();
    project.remove();
    redis?.disconnect();
    await server?.stop();
  });

  test('of 18 that end at once 17 arrive; the last one is parked, and arrives once its key is free and it was replayed', async () => {
    const later = app.remote<[n: number], number>('t.later');
    const handles = await later.sendMany(Array.from({ length: 18 }, (_, index) => ({ args: [index] as [number] })));
    const [stuck, ...others] = handles;
    const key = `celery-task-meta-${stuck?.id}`;
    await redis.lpush(key, 'not a result');
    const arrived = await Promise.all(others.map((handle) => handle.result({ timeout: '15s' })));
    expect(arrived).toEqual(others.map((_, index) => index + 1));
    await worker.until('its message is parked');
    while ((await redis.hlen('unacked')) > 0) await new Promise((resolve) => setTimeout(resolve, 20));
    const place = ['--broker', server.url, '--results', server.url];
    const listed = await project.run(['dead', 'list', '--json', '--broker', server.url]);
    expect(listed).toMatchObject({ code: 0, stdout: expect.stringContaining('E_KEY_TYPE') });
    expect(listed.stdout).toContain(stuck?.id);
    await redis.del(key);
    expect(await project.run(['dead', 'replay', '--all', '--yes', ...place])).toMatchObject({ code: 0 });
    expect(await stuck?.result({ timeout: '15s' })).toBe(0);
    expect(await redis.hlen('unacked')).toBe(0);
    expect(worker.child.exitCode).toBeNull();
  }, 60_000);
});
