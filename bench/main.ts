/**
 * `npm run bench [-- --quick --broker redis --json FILE]`: what Lovage does a second, beside what the raw driver does
 * with the same bytes in the same run. Servers are private ones, started for the run. A benchmark, never a test.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import { Redis } from 'ioredis';
import { startRabbitmq } from '../tests/support/rabbitmq-server.js';
import { startRedis } from '../tests/support/redis-server.js';
import { beatStartMs } from './beat-start.js';
import * as fileLimits from './limits/file.js';
import * as rabbitmqLimits from './limits/rabbitmq.js';
import * as redisLimits from './limits/redis.js';
import { chordMs, cpuMs, drain, type Env, enqueueBulk, enqueueOneByOne, idleWorker, latency, rssMiB } from './measure.js';

interface Figure {
  readonly name: string;
  readonly broker: string;
  readonly pool: string;
  readonly value: number;
  readonly unit: string;
  readonly limit: number | null;
  readonly ratio: number | null;
}

interface Limits {
  enqueueLimit(url: string, count: number, inFlight: number, bulk: boolean): Promise<number>;
  drainLimit(url: string, count: number, batch: number, withResults: boolean): Promise<number>;
  latencyLimit(url: string, samples: number): Promise<{ readonly p50: number; readonly p99: number }>;
}

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    broker: { type: 'string', multiple: true },
    pool: { type: 'string', multiple: true },
    figure: { type: 'string', multiple: true },
    json: { type: 'string' },
    runs: { type: 'string' },
  },
});
const BROKERS = ['file', 'redis', 'rabbitmq'] as const;
const POOLS = ['threads', 'processes', 'async', 'inline'] as const;
const brokers = BROKERS.filter((broker) => !flags.broker || flags.broker.includes(broker));
const pools = POOLS.filter((pool) => !flags.pool || flags.pool.includes(pool));
const wanted = (figure: string): boolean => !flags.figure || flags.figure.some((name) => figure.startsWith(name));
const runs = Number(flags.runs ?? (flags.quick ? 1 : 5));
const scale = flags.quick ? 0.25 : 1;
const figures: Figure[] = [];

function note(line: string): void {
  process.stderr.write(`${line}\n`);
}

async function median(measure: () => Promise<number>): Promise<number> {
  const taken: number[] = [];
  for (let run = 0; run < runs; run++) taken.push(await measure());
  return taken.sort((a, b) => a - b)[Math.floor(taken.length / 2)] as number;
}

function add(name: string, broker: string, pool: string, value: number, unit: string, limit: number | null): void {
  const round = (figure: number): number => (figure >= 100 ? Math.round(figure) : Math.round(figure * 1_000) / 1_000);
  const figure = {
    name,
    broker,
    pool,
    value: round(value),
    unit,
    limit: limit === null ? null : round(limit),
    ratio: limit === null ? null : Math.round((value / limit) * 100) / 100,
  };
  figures.push(figure);
  note(`  ${name} ${pool} ${figure.value} ${unit}${limit === null ? '' : ` (raw ${figure.limit}, ratio ${figure.ratio})`}`);
}

interface Bench {
  readonly broker: (typeof BROKERS)[number];
  readonly url: string;
  readonly env: Env;
  readonly limits: Limits;
  /** Commands that the broker has processed so far, if it can tell. */
  readonly commands: (() => Promise<number>) | null;
  clear(): Promise<void>;
}

async function measureEnqueue({ broker, url, env, limits, clear }: Bench): Promise<void> {
  const count = (broker === 'rabbitmq' ? 40_000 : 200_000) * scale;
  for (const [name, bulk] of [
    ['enqueue-one-by-one', false],
    ['enqueue-bulk', true],
  ] as const) {
    if (!wanted(name)) continue;
    const value = await median(async () => {
      await clear();
      return bulk ? enqueueBulk(env, count, 1_000) : enqueueOneByOne(env, count, 100);
    });
    await clear();
    const limit = await median(() => limits.enqueueLimit(url, count, bulk ? 1_000 : 100, bulk));
    add(name, broker, '-', value, 'tasks/s', limit);
  }
  await clear();
}

async function measureDrain({ broker, url, env, limits, clear }: Bench): Promise<void> {
  const count = 20_000 * (flags.quick ? 0.5 : 1);
  for (const [name, withResults] of [
    ['drain-with-results', true],
    ['drain-without-results', false],
  ] as const) {
    if (!wanted(name)) continue;
    const limit = await median(() => limits.drainLimit(url, count, 200, withResults));
    for (const pool of pools) {
      const value = await median(async () => {
        await clear();
        return drain(env, pool, 400, count, withResults);
      });
      add(name, broker, pool, value, 'tasks/s', limit);
    }
  }
  await clear();
}

async function measureLatency({ broker, url, env, limits, clear }: Bench): Promise<void> {
  if (!wanted('latency')) return;
  const samples = flags.quick ? 100 : 500;
  const limit = await limits.latencyLimit(url, samples);
  for (const pool of pools) {
    await clear();
    const { p50, p99 } = await latency(env, pool, samples);
    add('latency-p50', broker, pool, p50, 'ms', limit.p50);
    add('latency-p99', broker, pool, p99, 'ms', limit.p99);
  }
}

/** Parts of the chord; what it may take is in docs/benchmarks. */
const CHORD_PARTS = 10_000;

async function measureChord({ broker, env, clear }: Bench): Promise<void> {
  if (!wanted('chord')) return;
  for (const pool of pools) {
    const value = await median(async () => {
      await clear();
      return chordMs(env, pool, CHORD_PARTS);
    });
    add(`chord-${CHORD_PARTS}`, broker, pool, value, 'ms', null);
  }
  await clear();
}

/** With one entry it is what the process takes to start. */
const BEAT_ENTRIES = [1, 100_000] as const;

async function measureBeat({ broker, env, clear }: Bench): Promise<void> {
  if (!wanted('beat-start') || broker === 'rabbitmq') return;
  for (const entries of BEAT_ENTRIES) {
    const value = await median(async () => {
      await clear();
      return beatStartMs(env, entries);
    });
    add(`beat-start-${entries}`, broker, '-', value, 'ms', null);
  }
  await clear();
}

async function measureIdle({ broker, env, commands, clear }: Bench): Promise<void> {
  if (!wanted('idle')) return;
  await clear();
  const windowMs = flags.quick ? 10_000 : 60_000;
  const ten = Array.from({ length: 10 }, (_, index) => `q${index}`).join(',');
  for (const pool of pools) {
    for (const [label, queues] of [
      ['', 'lovage'],
      ['-10-queues', ten],
    ] as const) {
      if (label !== '' && (commands === null || pool !== 'threads')) continue;
      // A JavaScript app file: what a TypeScript loader takes is the loader's (docs/benchmarks tells how much).
      const worker = await idleWorker(env, pool, queues, './idle-app.js');
      await new Promise((resolve) => setTimeout(resolve, 3_000));
      const [cpuBefore, commandsBefore] = [cpuMs(worker.pid), commands === null ? 0 : await commands()];
      await new Promise((resolve) => setTimeout(resolve, windowMs));
      const minutes = windowMs / 60_000;
      // Less the one INFO that asks.
      if (commands !== null)
        add(
          `idle-commands-per-minute${label}`,
          broker,
          pool,
          ((await commands()) - commandsBefore - 1) / minutes,
          'commands',
          null,
        );
      add(`idle-cpu-per-minute${label}`, broker, pool, (cpuMs(worker.pid) - cpuBefore) / minutes, 'ms', null);
      if (label === '') add('idle-rss', broker, pool, rssMiB(worker.pid), 'MiB', null);
      await worker.close();
    }
  }
}

async function measure(bench: Bench): Promise<void> {
  note(`${bench.broker}:`);
  await measureEnqueue(bench);
  await measureDrain(bench);
  await measureLatency(bench);
  await measureChord(bench);
  await measureBeat(bench);
  await measureIdle(bench);
}

const folder = mkdtempSync(join(tmpdir(), 'lovage-bench-'));
try {
  if (brokers.includes('file')) {
    const path = join(folder, 'queue.db');
    const url = `file:${path}`;
    const clear = async (): Promise<void> => {
      for (const suffix of ['', '-wal', '-shm', '.bell', '.lock']) rmSync(path + suffix, { force: true });
      rmSync(folder, { recursive: true, force: true });
    };
    await measure({
      broker: 'file',
      url,
      env: { LOVAGE_BENCH_BROKER: url, LOVAGE_BENCH_RESULTS: url },
      limits: fileLimits,
      commands: null,
      clear,
    });
  }
  if (brokers.includes('redis') || brokers.includes('rabbitmq')) {
    const server = await startRedis();
    const admin = new Redis(server.url, { protocol: 2 } as never);
    const clear = async (): Promise<void> => void (await admin.flushall());
    const commands = async (): Promise<number> => Number(/total_commands_processed:(\d+)/.exec(await admin.info('stats'))?.[1]);
    try {
      const results = server.url;
      if (brokers.includes('redis')) {
        await measure({
          broker: 'redis',
          url: server.url,
          env: { LOVAGE_BENCH_BROKER: server.url, LOVAGE_BENCH_RESULTS: results },
          limits: redisLimits,
          commands,
          clear,
        });
      }
      if (brokers.includes('rabbitmq')) {
        const rabbit = await startRabbitmq();
        try {
          const clearAll = async (): Promise<void> => {
            await clear();
            await rabbitmqLimits.purge(rabbit.url, ['lovage', 'limit']);
          };
          await measure({
            broker: 'rabbitmq',
            url: rabbit.url,
            env: { LOVAGE_BENCH_BROKER: rabbit.url, LOVAGE_BENCH_RESULTS: results },
            limits: rabbitmqLimits,
            commands: null,
            clear: clearAll,
          });
        } finally {
          await rabbit.stop();
        }
      }
    } finally {
      admin.disconnect();
      await server.stop();
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

const table = new Table({ head: ['figure', 'broker', 'pool', 'value', 'unit', 'raw limit', 'ratio'] });
for (const { name, broker, pool, value, unit, limit, ratio } of figures)
  table.push([name, broker, pool, value, unit, limit ?? '-', ratio ?? '-']);
process.stdout.write(`${table.toString()}\nNode ${process.version}, ${cpus().length} cores, medians of ${runs}\n`);
if (flags.json)
  writeFileSync(flags.json, `${JSON.stringify({ node: process.version, cores: cpus().length, runs, figures }, null, 2)}\n`);
