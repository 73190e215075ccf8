/**
 * Drill 9: tasks that do not end, each in its own way and beside 20 innocent ones, in each pool. What never ends must be
 * ended by its hard limit, and what ran beside it must not pay for that.
 */
import { fileURLToPath } from 'node:url';
import type { Drill } from './harness/runner.js';
import { type Kit, Scene } from './harness/scene.js';
import { until } from './harness/wait.js';

const APP = fileURLToPath(new URL('./apps/endless.ts', import.meta.url));
const LIMIT_MS = 1_000;
const INNOCENT = 20;
const POOLS = ['threads', 'processes', 'async'] as const;
type Pool = (typeof POOLS)[number];

/** How a task does not end, and how it is ended: by itself, with its executor, or only with the whole process. */
const KINDS = {
  hangingFetch: 'yields',
  neverEnds: 'yields',
  busyLoop: 'blocks',
  lateLoop: 'blocks',
  regex: 'blocks',
  atomics: 'blocks',
  execute: 'native',
  derive: 'native',
} as const;
type Kind = keyof typeof KINDS;

const QUICK: readonly (readonly [Pool, Kind])[] = [
  ['threads', 'hangingFetch'],
  ['threads', 'lateLoop'],
  ['threads', 'execute'],
  ['processes', 'busyLoop'],
  ['async', 'neverEnds'],
];

/**
 * The ends of the process that it takes, where nothing smaller can be ended. Two for a loop after an await in the pool `async`: the
 * first tells that one of the tasks that had begun keeps the loop, the second, when they run alone, which.
 */
function endsOfProcess(pool: Pool, kind: Kind): string {
  if (KINDS[kind] === 'yields' || pool === 'processes') return 'none';
  if (pool === 'async') return kind === 'lateLoop' ? '70 70' : '70';
  return KINDS[kind] === 'native' ? '70' : 'none';
}

async function play(kit: Kit, pool: Pool, kind: Kind): Promise<void> {
  const name = `${pool}, ${kind}`;
  const scene = new Scene(kit, `limits-${pool}-${kind}`, '5s');
  try {
    const fleet = await scene.fleet({ count: 1, app: APP, concurrency: 30, pool });
    const label = fleet.workers[0]?.label ?? '';
    const innocent = await scene.sender.sendMany(
      'endless.append',
      Array.from({ length: INNOCENT }, () => ({ args: [1_500] })),
    );
    await until(() => innocent.every((id) => scene.ledger.read().runs.has(id)), 'the innocent tasks have begun');
    const culprit = await scene.sender.send(`endless.${kind}`);
    const failure = await scene.sender
      .handle(culprit)
      .result({ timeout: '60s' })
      .then(
        () => null,
        (error: Error & { readonly type?: string }) => error,
      );
    const endedMs = Date.now();
    const begunMs = scene.ledger.read().runs.get(culprit)?.[0]?.startMs ?? Number.NaN;
    // An executor that was ended took its neighbours' runs with it: that explains their second start.
    for (const line of fleet.log('executor is ended')) {
      const time = Number(line['time']);
      scene.ledger.fault({ kind: 'executor-ended', target: label, fromMs: begunMs, toMs: time + 2_000 });
    }
    // It failed, as it should: neither lost nor executed.
    const settled = await scene.settled(45_000, async () => ({ revoked: new Set([culprit]) }));
    const after = await scene.sender.send('endless.append', 1);
    const usable = await scene.sender
      .handle(after)
      .result({ timeout: '30s' })
      .then(
        () => true,
        () => false,
      );

    const { runs, executed } = scene.ledger.read();
    kit.claim(`${name}: the task fails`, failure === null ? 'it ended' : (failure.type ?? failure.name), {
      equals: kind === 'hangingFetch' ? 'SoftTimeLimitExceeded' : 'TimeLimitExceeded',
    });
    // One of several that may have been it starts again alone first, with a limit of its own.
    const lastMs = runs.get(culprit)?.at(-1)?.startMs ?? Number.NaN;
    kit.claim(`${name}: its result is there after its last start`, endedMs - lastMs, { atMost: LIMIT_MS + 1_000 }, 'ms');
    kit.claim(`${name}: innocent tasks that finish`, innocent.filter((id) => executed.has(id)).length, { equals: INNOCENT });
    kit.claim(
      `${name}: highest attempt of an innocent task`,
      Math.max(...innocent.flatMap((id) => (runs.get(id) ?? []).map(({ attempt }) => attempt))),
      { equals: 1 },
    );
    kit.claim(`${name}: innocent tasks lost`, settled.lost.length, { equals: 0 });
    kit.claim(`${name}: repeated runs that no fault explains`, settled.unexplained.length, { equals: 0 });
    kit.claim(`${name}: the slot is usable again`, usable, { equals: true });
    kit.claim(`${name}: ends of the process`, fleet.crashes.map(({ how }) => how).join(' ') || 'none', {
      equals: endsOfProcess(pool, kind),
    });
    kit.figure(`${name}: its result is there after its first start`, endedMs - begunMs, 'ms');
    kit.figure(`${name}: second starts of innocent tasks`, settled.duplicates);
  } finally {
    await scene.close();
  }
}

export const drill: Drill = {
  name: 'time-limits',
  scenario:
    'A hanging fetch, a promise that never ends, a busy loop, one after an await, a regular expression that explodes, Atomics.wait, execSync and pbkdf2Sync, each beside 20 innocent tasks in one executor, in each pool.',
  brokers: ['file', 'redis', 'rabbitmq'],
  testedOn: ['file'],
  async run(kit) {
    const all = POOLS.flatMap((pool) => (Object.keys(KINDS) as Kind[]).map((kind) => [pool, kind] as const));
    for (const [pool, kind] of kit.size === 'quick' ? QUICK : all) {
      kit.say(`${pool}: ${kind}`);
      await play(kit, pool, kind);
    }
  },
};
