/**
 * The shortest proof that the built package works on this Node: every pool runs a task on the file broker, and the
 * command does what the README says. Runs on each promised Node line. Needs a build.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const COMMAND = join(ROOT, 'dist/cli/main.js');

const TASKS = `import { createApp, taskContext } from 'lovage';
export const app = createApp({ name: 'smoke', broker: process.env.SMOKE_BROKER });
export const add = app.fn('math.add', (x: number, y: number): number => x + y, { params: ['x', 'y'] });
export const flaky = app.fn('flaky', (times: number): number => {
  const attempt = taskContext().attempt;
  if (attempt <= times) throw new Error('not yet');
  return attempt;
}, { retry: { max: 3, backoff: 'fixed', base: '50ms' } });
`;

const CLIENT = `import { add, app, flaky } from './tasks.ts';
const [pool, broker] = process.argv.slice(2);
const worker = await app.worker({ pool, ...(pool === 'threads' ? { module: new URL('./tasks.ts', import.meta.url).href } : {}) });
const sum = await (await add.send(2, 3)).result({ timeout: '20s' });
const later = await (await add.with({ countdown: '100ms' }).send(20, 3)).result({ timeout: '20s' });
const attempt = await (await flaky.send(2)).result({ timeout: '20s' });
await worker.close();
await app.close();
console.log(JSON.stringify({ sum, later, attempt }));
`;

let project: string;
let worker: ChildProcess | undefined;

/** TypeScript files run as they are where Node can; else through tsx, as the command does by itself. */
const typescript = (process.features as { readonly typescript?: unknown }).typescript ? [] : ['--import', 'tsx'];

beforeAll(() => {
  project = mkdtempSync(join(tmpdir(), 'lovage-smoke-'));
  mkdirSync(join(project, 'node_modules'));
  for (const [name, target] of [
    ['lovage', ROOT],
    ['tsx', join(ROOT, 'node_modules/tsx')],
  ] as const)
    symlinkSync(target, join(project, 'node_modules', name));
  writeFileSync(join(project, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
  writeFileSync(join(project, 'tasks.ts'), TASKS);
  writeFileSync(join(project, 'client.ts'), CLIENT);
});

afterAll(async () => {
  if (worker && worker.exitCode === null && worker.signalCode === null) {
    const ended = new Promise((resolve) => worker?.once('exit', resolve));
    worker.kill('SIGKILL');
    await ended;
  }
  rmSync(project, { recursive: true, force: true });
});

describe(`on Node ${process.versions.node}`, () => {
  test.each([
    ['threads', 'file'],
    ['async', 'file'],
    ['inline', 'file'],
    ['inline', 'memory'],
  ])('the pool %s runs tasks, retries and countdowns on the %s broker', (pool, broker) => {
    const url = broker === 'memory' ? 'memory:' : `file:${join(project, `${pool}.db`)}`;
    const run = spawnSync(process.execPath, [...typescript, 'client.ts', pool], {
      cwd: project,
      encoding: 'utf8',
      env: { ...process.env, SMOKE_BROKER: url, NODE_NO_WARNINGS: '1' },
    });
    const answer = run.stdout.trim().split('\n').at(-1) ?? '';
    expect({ status: run.status, answer, log: run.status === 0 ? '' : run.stderr }).toEqual({
      status: 0,
      answer: JSON.stringify({ sum: 5, later: 23, attempt: 3 }),
      log: '',
    });
  });

  test('the command runs a worker on a TypeScript file, sends to it, prints the answer, and stops with exit code 0', async () => {
    const env = {
      ...process.env,
      SMOKE_BROKER: `file:${join(project, 'command.db')}`,
      LOVAGE_BROKER_URL: `file:${join(project, 'command.db')}`,
    };
    const running = spawn(process.execPath, [COMMAND, 'worker', '--app', './tasks.ts'], {
      cwd: project,
      env,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    worker = running;
    let log = '';
    running.stderr?.on('data', (chunk: Buffer) => {
      log += chunk.toString();
    });
    const sent = spawnSync(process.execPath, [COMMAND, 'send', 'math.add', '--args', '[2,3]', '--wait', '20s'], {
      cwd: project,
      env,
      encoding: 'utf8',
    });
    expect({ stdout: sent.stdout.trim(), stderr: sent.stderr, log: sent.status === 0 ? '' : log }).toMatchObject({
      stdout: '5',
      log: '',
    });

    const ended = new Promise<number | null>((resolve) => running.once('exit', resolve));
    running.kill('SIGTERM');
    expect({ code: await ended, log: '' }).toEqual({ code: 0, log: '' });
  });
});
