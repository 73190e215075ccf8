/** The ends of a worker that need a broker of their own: refused credentials, and a broker that does not answer when work goes back. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type RedisServer, startRedis } from '../support/redis-server.js';
import { Project } from './run-cli.js';

let project: Project;
let server: RedisServer | null = null;
beforeEach(() => {
  project = new Project();
  project.write(
    'tasks.mjs',
    `import { createApp, taskContext } from 'lovage';
export const app = createApp({});
app.fn('hold', () => { taskContext().log.info({}, 'began'); return new Promise(() => {}); });`,
  );
});
afterEach(async () => {
  project.remove();
  await server?.stop();
  server = null;
});

function last(stderr: string): Record<string, unknown> {
  return JSON.parse(stderr.trimEnd().split('\n').at(-1) ?? '') as Record<string, unknown>;
}

test('77 when the broker refuses the credentials', async () => {
  server = await startRedis({ args: ['--requirepass', 'secret'] });
  for (const url of [server.url, server.url.replace('127', 'default:wrong@127')]) {
    const { code, stderr } = await project.run(['worker', '--app', './tasks.mjs', '--broker', url, '--log-format', 'json']);
    expect(last(stderr)).toMatchObject({
      level: 50,
      exitCode: 77,
      code: 'E_BROKER_AUTH',
      remedy: expect.stringContaining('password'),
    });
    expect(stderr).not.toContain('wrong');
    expect(code).toBe(77);
  }
});

test('3 when the broker does not answer as unfinished work is handed back, and the lease brings it back', async () => {
  server = await startRedis();
  const args = [
    'worker',
    '--app',
    './tasks.mjs',
    '--broker',
    server.url,
    '--log-format',
    'json',
    '--lease',
    '2s',
    '--grace',
    '200ms',
  ];
  const worker = project.start(args);
  await worker.until('worker ready');
  await project.run(['send', 'hold', '--app', './tasks.mjs', '--broker', server.url]);
  await worker.until('began');
  server.pause();
  worker.child.kill('SIGTERM');
  const { code, stderr } = await worker.finished;
  expect(last(stderr)).toMatchObject({ level: 50, exitCode: 3, remedy: expect.stringContaining('lease') });
  expect(code).toBe(3);
  server.resume();
  const next = project.start(args);
  await next.until('began');
  next.child.kill('SIGTERM');
  expect((await next.finished).code).toBe(0);
}, 40_000);
