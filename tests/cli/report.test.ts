/** `lovage report`, the health port and the heartbeat file of a worker, as its operator uses them. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { askHealth, notReady } from '../support/health-client.js';
import { Project, type RunningCli } from './run-cli.js';

let project: Project;
beforeEach(() => {
  project = new Project();
  project.write(
    'tasks.mjs',
    `import { createApp } from 'lovage';
export const app = createApp({ broker: 'file:./queue.db' });
app.fn('mail.send', () => 1);
app.fn('report.make', () => new Promise((done) => setTimeout(done, 1_200)));
app.fn('api.call', () => { throw new Error('down'); }, { retry: { max: 'unlimited', base: '20ms', cap: '20ms' } });`,
  );
});
afterEach(() => project.remove());

/** A worker with a health port of its own; resolves with the port once the server listens. */
async function start(...args: string[]): Promise<{ readonly worker: RunningCli; readonly port: number }> {
  const worker = project.start(['worker', '--app', './tasks.mjs', '--log-format', 'json', '--health-port', '0', ...args]);
  await worker.until('health server listens');
  return { worker, port: Number(/"port":(\d+),"msg":"health server listens"/.exec(worker.stderr())?.[1]) };
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = performance.now() + 20_000; !(await condition()); await new Promise((done) => setTimeout(done, 20)))
    if (performance.now() > end) throw new Error('waited 20 s in vain');
}

test('a queue that mixes fast and slow tasks is named with figures, and endless retries with theirs', async () => {
  project.write('rows.jsonl', '{"task":"mail.send"}\n'.repeat(50) + '{"task":"report.make"}\n'.repeat(4));
  const { worker, port } = await start();
  const url = `http://127.0.0.1:${port}`;
  await worker.until('worker ready');
  await worker.until('"tasks":["api.call"],"count":1');
  const fresh = await project.run(['report', '--url', url]);
  expect(fresh.stdout).toContain(': ready\n');
  expect(fresh.stdout).toContain('no task yet');

  expect((await project.run(['send', '--file', 'rows.jsonl', '--app', './tasks.mjs'])).code).toBe(0);
  expect((await project.run(['send', 'api.call', '--app', './tasks.mjs'])).code).toBe(0);
  const retriesOf = async (): Promise<number> => {
    const { json } = await askHealth(port, '/report');
    return (json['tasks'] as { task: string; retries: number }[]).find(({ task }) => task === 'api.call')?.retries ?? 0;
  };
  await until(async () => (await retriesOf()) >= 3);
  await until(async () => /event="succeeded"\} 54/.test((await askHealth(port, '/metrics')).text));

  const { code, stdout, stderr } = await project.run(['report', '--url', `127.0.0.1:${port}`]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toMatch(/^lovage +mail\.send +50 +0 +0 /m);
  expect(stdout).toMatch(/^lovage +report\.make +4 +0 +0 +1\.\d+s /m);
  expect(stdout).toMatch(
    /! queue "lovage" mixes fast tasks with slow ones: .*mail\.send \(p50 .*50 runs\).* beside report\.make \(p50 1\.\d+s/,
  );
  expect(stdout).toMatch(/--queues lovage:16,slow:4/);
  expect(stdout).toMatch(/! task api\.call is tried again without end \(retry\.max 'unlimited'\): \d+ retries/);
  const limited = await project.run(['report', '--url', url, '--limit', '1']);
  expect(limited.stdout).toContain('and 2 more; --limit shows them');
  const report = JSON.parse((await project.run(['report', '--url', url, '--json'])).stdout);
  expect(report).toMatchObject({ ready: true, slots: 20, executors: 2 });
  expect(report.findings.map((finding: { code: string }) => finding.code)).toEqual(['mixed-queue', 'endless-retry']);
});

test('without a worker at the address it exits 69 and says what to do', async () => {
  const gone = createServer();
  await new Promise<void>((resolve) => gone.listen(0, '127.0.0.1', () => resolve()));
  const free = `http://127.0.0.1:${(gone.address() as AddressInfo).port}`;
  await new Promise((resolve) => gone.close(resolve));
  const nobody = await project.run(['report', '--url', free]);
  expect(nobody.stderr).toContain(`no worker answers at ${free}: `);
  expect(nobody.stderr).toMatch(/ECONNREFUSED.*--health-port/);
  expect(nobody.code).toBe(69);
  const server = createServer((request, response) => response.end(request.url === '/report' ? '<html>' : ''));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  try {
    const { port } = server.address() as AddressInfo;
    const other = await project.run(['report', '--url', `http://127.0.0.1:${port}`, '--json']);
    expect(JSON.parse(other.stderr)).toMatchObject({ error: { code: 'E_WORKER_UNREACHABLE' } });
    expect(other.code).toBe(69);
  } finally {
    server.close();
  }
  expect((await project.run(['report', '--url', 'http://'])).code).toBe(2);
});

test('a worker that cannot reach its broker is alive and not ready, and is stopped like any other', async () => {
  const { worker, port } = await start('--broker', 'redis://127.0.0.1:1/0', '--heartbeat-file', './beat');
  expect((await askHealth(port, '/livez')).status).toBe(200);
  expect(await notReady(port)).toEqual(['starting']);
  await until(() => existsSync(join(project.folder, 'beat')));
  expect(readFileSync(join(project.folder, 'beat'), 'utf8')).toMatch(/^not-ready starting\n/);
  worker.child.kill('SIGTERM');
  expect((await worker.finished).code).toBe(0);
});

test('the heartbeat file is renewed every few seconds while the worker lives, and goes with it', async () => {
  const { worker } = await start('--heartbeat-file', './beat');
  const path = join(project.folder, 'beat');
  await worker.until('worker ready');
  await until(() => readFileSync(path, 'utf8').startsWith('ready\n'));
  const first = statSync(path).mtimeMs;
  await until(() => statSync(path).mtimeMs > first);
  expect(statSync(path).mtimeMs - first).toBeGreaterThan(3_500);
  worker.child.kill('SIGTERM');
  expect((await worker.finished).code).toBe(0);
  expect(existsSync(path)).toBe(false);
}, 40_000);

test('while a task blocks the main thread of pool async, the health port answers and says why nothing can be taken', async () => {
  project.write(
    'tasks.mjs',
    `import { createApp } from 'lovage';
export const app = createApp({ broker: 'file:./queue.db' });
app.fn('spin', () => { for (const end = Date.now() + 6_000; Date.now() < end; ); });`,
  );
  const { worker, port } = await start('--pool', 'async');
  await worker.until('worker ready');
  await project.run(['send', 'spin', '--app', './tasks.mjs']);
  await until(async () => (await notReady(port)).includes('executors-blocked'));
  expect((await askHealth(port, '/livez')).status).toBe(200);
  await until(async () => (await notReady(port)).length === 0);
  worker.child.kill('SIGTERM');
  expect((await worker.finished).code).toBe(0);
}, 40_000);
