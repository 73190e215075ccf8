/** What is measured, one function a figure. Each returns plain numbers; `main.ts` puts them beside the raw limits. */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type * as BenchApp from './app.js';

const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url));
export type Env = Readonly<Record<string, string>>;
type Tasks = typeof BenchApp;

/** Loads the bench app for these URLs, in this process. */
async function client(env: Env): Promise<Tasks> {
  Object.assign(process.env, env);
  return (await import(`./app.js?${encodeURIComponent(JSON.stringify(env))}${performance.now()}`)) as Tasks;
}

/** Sends a second, `inFlight` at a time, each with its own `send()`. */
export async function enqueueOneByOne(env: Env, count: number, inFlight: number): Promise<number> {
  const { app, noop } = await client(env);
  const lane = async (sends: number): Promise<void> => {
    for (let sent = 0; sent < sends; sent++) await noop.send(sent, 1);
  };
  await Promise.all(Array.from({ length: inFlight }, () => lane(Math.ceil(count / inFlight / 4))));
  const startedMs = performance.now();
  await Promise.all(Array.from({ length: inFlight }, () => lane(count / inFlight)));
  const perSecond = count / ((performance.now() - startedMs) / 1_000);
  await app.close();
  return perSecond;
}

/** Tasks a second by `sendMany`, `batch` a call. */
export async function enqueueBulk(env: Env, count: number, batch: number, task: 'noop' | 'quiet' = 'noop'): Promise<number> {
  const tasks = await client(env);
  const rows = Array.from({ length: batch }, (_, index) => ({ args: [index, 1] as [number, number] }));
  await tasks[task].sendMany(rows);
  const startedMs = performance.now();
  for (let sent = batch; sent < count; sent += batch) await tasks[task].sendMany(rows);
  const perSecond = (count - batch) / ((performance.now() - startedMs) / 1_000);
  await tasks.app.close();
  return perSecond;
}

/** Runs a TypeScript file of this folder in a process of its own and returns the JSON that it prints. */
function runProcess<T>(file: string, args: readonly string[], env: Env): Promise<T> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--import', 'tsx', here(file), ...args], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let out = '';
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString();
    });
    child.once('exit', (code) => (code === 0 ? resolve(JSON.parse(out) as T) : reject(new Error(`${file} ended with ${code}`))));
  });
}

/** Tasks a second of one worker process on a queue that was filled before. */
export async function drain(env: Env, pool: string, concurrency: number, count: number, withResults: boolean): Promise<number> {
  const warmUp = Math.floor(count / 2);
  // Some more than are counted, so that the last counted one is not the end of the queue.
  const total = Math.ceil((warmUp + count) / 1_000 + 1) * 1_000;
  await enqueueBulk(env, total, 1_000, withResults ? 'noop' : 'quiet');
  const { perSecond } = await runProcess<{ perSecond: number }>(
    './worker-process.ts',
    [pool, String(concurrency), String(warmUp), String(count)],
    env,
  );
  return perSecond;
}

interface WorkerProcess {
  readonly pid: number;
  close(): Promise<void>;
}

/** A worker of the command line, idle until it is closed. */
export async function idleWorker(env: Env, pool: string, queues: string, appFile = './app.ts'): Promise<WorkerProcess> {
  const args = [
    here('../dist/cli/main.js'),
    'worker',
    '--app',
    here(appFile),
    '--pool',
    pool,
    '--queues',
    queues,
    '--log-format',
    'json',
  ];
  return untilReady(args, env);
}

/** A worker process, once it says that it is ready. */
async function untilReady(args: readonly string[], env: Env): Promise<WorkerProcess> {
  const child = spawn(process.execPath, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  await new Promise<void>((resolve, reject) => {
    child.stderr.on('data', (chunk: Buffer) => {
      log = (log + chunk.toString()).slice(-10_000);
      if (log.includes('worker ready')) resolve();
    });
    child.once('exit', (code) => reject(new Error(`the worker ended with ${code}: ${log}`)));
  });
  return {
    pid: child.pid as number,
    close: () =>
      new Promise((resolve) => {
        child.once('exit', () => resolve());
        child.kill('SIGTERM');
      }),
  };
}

/** Milliseconds from send() to the first line of the task on an idle worker. */
export async function latency(env: Env, pool: string, samples: number): Promise<{ readonly p50: number; readonly p99: number }> {
  const worker = await idleWorker(env, pool, 'lovage');
  const { app, clock, now } = await client(env);
  try {
    const taken: number[] = [];
    for (let index = 0; index < samples + 20; index++) {
      await new Promise((resolve) => setTimeout(resolve, 15));
      const sentMs = now();
      const handle = await clock.send();
      const startedMs = await handle.result({ timeout: '10s' });
      if (index >= 20) taken.push(startedMs - sentMs);
    }
    taken.sort((a, b) => a - b);
    return { p50: taken[Math.floor(samples * 0.5)] as number, p99: taken[Math.floor(samples * 0.99)] as number };
  } finally {
    await app.close();
    await worker.close();
  }
}

/**
 * Milliseconds from `send()` of a chord of so many parts that do nothing to the result of its body, with one worker. Another chord goes
 * before it, so that start-up and cold code are left out.
 */
export async function chordMs(env: Env, pool: string, parts: number): Promise<number> {
  const worker = await untilReady(['--import', 'tsx', here('./quiet-worker.ts'), pool, '400'], env);
  try {
    const { app, noop, count } = await client(env);
    const { chord, group } = await import('lovage');
    const run = async (size: number): Promise<number> => {
      const made = chord(group(Array.from({ length: size }, (_, index) => noop.si(index, 1))), count.s());
      const startedMs = performance.now();
      const counted = await (await made.send({ timeout: '60s' })).result({ timeout: '120s' });
      if (counted !== size) throw new Error(`the body of a chord of ${size} parts got ${counted} results`);
      return performance.now() - startedMs;
    };
    try {
      await run(Math.ceil(parts / 5));
      return await run(parts);
    } finally {
      await app.close();
    }
  } finally {
    await worker.close();
  }
}

/** A process and its children, as pool `processes` has them. */
function family(pid: number): number[] {
  const children = readdirSync('/proc').filter((name) => {
    try {
      return /^\d+$/.test(name) && Number(readFileSync(`/proc/${name}/stat`, 'utf8').split(') ')[1]?.split(' ')[1]) === pid;
    } catch {
      return false; // it ended while we looked
    }
  });
  return [pid, ...children.map(Number)];
}

/** Resident MiB of a process and its children. */
export function rssMiB(pid: number): number {
  const each = family(pid).map((one) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${one}/status`, 'utf8'))?.[1]));
  return each.reduce((sum, kibibytes) => sum + kibibytes, 0) / 1_024;
}

/** Milliseconds of processor time that a process and its children have used. */
export function cpuMs(pid: number): number {
  return family(pid).reduce((sum, one) => {
    const fields = readFileSync(`/proc/${one}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
    return sum + (Number(fields[11]) + Number(fields[12])) * 10;
  }, 0);
}
