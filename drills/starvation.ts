/**
 * Drill 10: fast tasks and slow ones on one worker. With a queue for each and a share of the slots for each queue the fast
 * ones must not wait for the slow ones; in one queue they do, and the worker's report must say so, with figures.
 */
import { fileURLToPath } from 'node:url';
import type { Drill } from './harness/runner.js';
import { type Kit, Scene } from './harness/scene.js';
import { pause, until } from './harness/wait.js';

const APP = fileURLToPath(new URL('./apps/two-speeds.ts', import.meta.url));
const FAST_A_SECOND = 400;
const SLOW_A_SECOND = 8;
const TICK_MS = 50;
const WAIT_MS = 250;
const WARM_UP_S = 3;

/** Sends both for so long, each to its queue; ids of the fast ones. */
async function load(scene: Scene, seconds: number, queues: { readonly fast: string; readonly slow: string }): Promise<string[]> {
  const fast: string[] = [];
  let slow = 0;
  const startMs = performance.now();
  const sends: Promise<unknown>[] = [];
  for (let atMs = 0; atMs < seconds * 1_000; atMs = performance.now() - startMs) {
    // By the clock, so that a slow turn is made up for and the rate holds.
    const count = Math.floor((atMs / 1_000) * FAST_A_SECOND) - fast.length;
    if (count > 0) {
      const rows = Array.from({ length: count }, () => ({ args: [], options: { queue: queues.fast } }));
      fast.push(...(await scene.sender.sendMany('speeds.fast', rows)));
    }
    if (Math.floor((atMs / 1_000) * SLOW_A_SECOND) > slow) {
      slow += 1;
      sends.push(scene.sender.sendMany('speeds.slow', [{ args: [], options: { queue: queues.slow } }]));
    }
    await pause(TICK_MS);
  }
  await Promise.all(sends);
  return fast;
}

/** How long each of them waited from its confirmation to its start, in order of length; `null` for those that never began. */
function waits(scene: Scene, ids: readonly string[]): { readonly ms: number[]; readonly missing: number } {
  const { sent, runs } = scene.ledger.read();
  const ms = ids.flatMap((id) => {
    const start = runs.get(id)?.[0]?.startMs;
    return start === undefined ? [] : [Math.max(0, start - (sent.get(id) ?? start))];
  });
  return { ms: ms.sort((a, b) => a - b), missing: ids.length - ms.length };
}

const at = (sorted: readonly number[], share: number): number => sorted[Math.floor((sorted.length - 1) * share)] ?? Number.NaN;

async function playTwoQueues(kit: Kit, seconds: number): Promise<void> {
  const name = 'two queues';
  const scene = new Scene(kit, 'fast', '15s');
  try {
    await scene.fleet({ count: 1, app: APP, concurrency: 50, grace: '100ms', flags: ['--queues', 'fast:40,slow:10'] });
    // A process just started runs cold code; that is not what is asked here.
    await load(scene, WARM_UP_S, { fast: 'fast', slow: 'slow' });
    const fast = await load(scene, seconds, { fast: 'fast', slow: 'slow' });
    await until(() => waits(scene, fast).missing === 0, 'every fast task has begun', 60_000);
    const { ms, missing } = waits(scene, fast);
    kit.claim(`${name}: fast tasks that did not run`, missing, { equals: 0 });
    kit.claim(`${name}: fast tasks a second, sent`, fast.length / seconds, { atLeast: FAST_A_SECOND * 0.9 });
    kit.claim(`${name}: wait of a fast task, p99`, at(ms, 0.99), { atMost: WAIT_MS }, 'ms');
    kit.figure(`${name}: wait of a fast task, p50`, at(ms, 0.5), 'ms');
    kit.figure(`${name}: fast tasks`, fast.length);
  } finally {
    await scene.close();
  }
}

async function playOneQueue(kit: Kit, seconds: number): Promise<void> {
  const name = 'one queue';
  const scene = new Scene(kit, 'mixed', '15s');
  try {
    const fleet = await scene.fleet({ count: 1, app: APP, concurrency: 50, grace: '100ms', flags: ['--health-port', '0'] });
    const port = Number(fleet.log('health server listens')[0]?.['port']);
    const fast = await load(scene, seconds, { fast: 'mixed', slow: 'mixed' });
    const report = (await (await fetch(`http://127.0.0.1:${port}/report`)).json()) as {
      readonly findings: readonly { readonly code: string; readonly text: string }[];
    };
    const mix = report.findings.find(({ code }) => code === 'mixed-queue')?.text ?? '';
    kit.claim(`${name}: the report names the queue`, mix.includes('mixed'), { equals: true });
    kit.claim(`${name}: it names both tasks`, mix.includes('speeds.fast') && mix.includes('speeds.slow'), { equals: true });
    kit.claim(`${name}: it has figures`, /\d/.test(mix), { equals: true });
    kit.figure(`${name}: what it says`, mix);
    kit.figure(`${name}: wait of the fast tasks that began by then, p99`, at(waits(scene, fast).ms, 0.99), 'ms');
  } finally {
    await scene.close();
  }
}

export const drill: Drill = {
  name: 'starvation',
  scenario: `${FAST_A_SECOND} tasks of 5 ms and ${SLOW_A_SECOND} of 5 s a second on one worker with 50 slots: first with a queue and a share of the slots for each, then in one queue.`,
  brokers: ['file', 'redis', 'rabbitmq'],
  testedOn: [],
  async run(kit) {
    const seconds = kit.size === 'full' ? 60 : 12;
    await playTwoQueues(kit, seconds);
    await playOneQueue(kit, seconds);
  },
};
