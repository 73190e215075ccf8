/** The servers and versions of the interop matrix, and a worker of ours as people start it: by the command line. */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { startRabbitmq } from '../support/rabbitmq-server.js';
import { startRedis } from '../support/redis-server.js';

const root = fileURLToPath(new URL('../../', import.meta.url));

export interface Fleet {
  /** What both languages get as broker and results. */
  readonly broker: string;
  readonly results: string;
  close(): Promise<void>;
}

export type FleetName = 'redis' | 'rabbitmq with rpc results' | 'rabbitmq with redis results';

export async function openFleet(name: FleetName): Promise<Fleet> {
  if (name === 'redis') {
    const redis = await startRedis();
    return { broker: redis.url, results: redis.url, close: () => redis.stop() };
  }
  const rabbitmq = await startRabbitmq();
  if (name === 'rabbitmq with rpc results') return { broker: rabbitmq.url, results: 'rpc://', close: () => rabbitmq.stop() };
  const redis = await startRedis();
  return {
    broker: rabbitmq.url,
    results: redis.url,
    async close() {
      await Promise.all([rabbitmq.stop(), redis.stop()]);
    },
  };
}

/** Our spelling of the result URL: `rpc://` alone means "over the broker". */
export function ourResults(fleet: Fleet): string {
  return fleet.results === 'rpc://' ? `rpc:${fleet.broker}` : fleet.results;
}

export interface OurWorker {
  log(): string;
  stop(): Promise<number | null>;
}

/** `lovage worker` on the interop example, or another app; resolves once it says that it is ready. */
export async function startOurWorker(
  fleet: Fleet,
  extra: readonly string[] = [],
  app = 'examples/interop/app.ts',
): Promise<OurWorker> {
  const args = [
    'dist/cli/main.js',
    'worker',
    '--app',
    app,
    '--broker',
    fleet.broker,
    '--results',
    ourResults(fleet),
    '--queues',
    'interop',
    '--log-format',
    'json',
    ...extra,
  ];
  const child: ChildProcess = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL'); // nobody else will end it
      reject(new Error(`our worker did not start: ${log}`));
    }, 30_000);
    child.stderr?.on('data', (chunk: Buffer) => {
      log = (log + chunk.toString()).slice(-50_000);
      if (!log.includes('worker ready')) return;
      clearTimeout(timer);
      resolve();
    });
    child.once('exit', (code) => reject(new Error(`our worker ended with ${code}: ${log}`)));
  });
  return {
    log: () => log,
    stop: () =>
      new Promise((resolve) => {
        if (child.exitCode !== null) return resolve(child.exitCode);
        child.once('exit', (code) => resolve(code));
        child.kill('SIGTERM');
      }),
  };
}
