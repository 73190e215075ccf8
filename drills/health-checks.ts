/**
 * Drill 17: an orchestrator asks ten workers for their health, a thousand times a minute. Celery answers such questions over the
 * broker; here no answer may cost the broker anything, a check must be cheap, and it must be right: red when the worker cannot take
 * work, green when it is only busy.
 */
import { readFileSync } from 'node:fs';
import { askHealth, notReady } from '../tests/support/health-client.js';
import { cpuMs } from './harness/processor.js';
import type { Drill } from './harness/runner.js';
import { type Kit, Scene } from './harness/scene.js';
import { type Traffic, watchTraffic } from './harness/traffic.js';
import { pause, until } from './harness/wait.js';
import type { Fleet } from './harness/workers.js';

const WORKERS = 10;
const SLOTS = 4;
const A_MINUTE = 1_000;
const PATHS = ['/livez', '/readyz'] as const;
/** Bursts for the count of messages: short, so that the workers' own signs of life fall between some of them. */
const BURSTS = 20;
const BURST = 50;
const SLICES = 10;
/** CPU time of ten idle workers in two seconds. */
const SETTLED_MS = 40;
/** Checks of each worker before its CPU time is taken. */
const WARM_UP = 300;

/** Health ports of the workers that run now, by their order. */
function portsOf(fleet: Fleet): number[] {
  return fleet.workers.map(({ logFile }) => {
    const line = readFileSync(logFile, 'utf8')
      .split('\n')
      .find((text) => text.includes('health server listens'));
    return (JSON.parse(line ?? '{}') as { port: number }).port;
  });
}

interface Checks {
  readonly asked: number;
  readonly red: number;
  readonly failed: number;
  readonly slowestMs: number;
}

/** Asks one worker after the other, evenly, for so long. */
async function check(ports: readonly number[], count: number, everyMs: number): Promise<Checks> {
  let red = 0;
  let failed = 0;
  let slowestMs = 0;
  const startMs = performance.now();
  const asked = Array.from({ length: count }, async (_, index) => {
    await pause(index * everyMs - (performance.now() - startMs));
    try {
      const reply = await askHealth(ports[index % ports.length] as number, PATHS[Math.floor(index / ports.length) % 2] as string);
      slowestMs = Math.max(slowestMs, reply.tookMs);
      if (reply.status !== 200) red += 1;
    } catch {
      failed += 1;
    }
  });
  await Promise.all(asked);
  return { asked: count, red, failed, slowestMs };
}

/** What the quietest burst of checks cost the broker. */
async function costInMessages(kit: Kit, ports: readonly number[], traffic: Traffic): Promise<void> {
  const costs: number[] = [];
  for (let burst = 0; burst < BURSTS; burst++) {
    const before = traffic.count();
    for (let index = 0; index < BURST; index++) {
      const port = ports[index % ports.length] as number;
      await askHealth(port, index % 5 === 0 ? '/metrics' : (PATHS[index % 2] as string));
    }
    costs.push(traffic.count() - before);
    await pause(kit.random.between(20, 120));
  }
  const quiet = costs.filter((cost) => cost === 0).length;
  kit.claim(`${traffic.unit} to and from the broker in the quietest of ${BURSTS} bursts of ${BURST} checks`, Math.min(...costs), {
    equals: 0,
  });
  kit.figure('bursts in which nothing at all passed', quiet, `of ${BURSTS}`);
}

/** Waits until nothing is left of the start (compiling, collecting), or a minute. */
async function settle(pids: readonly number[]): Promise<void> {
  for (let second = 0; second < 60; second += 2) {
    const beganMs = cpuMs(pids);
    await pause(2_000);
    if (cpuMs(pids) - beganMs < SETTLED_MS) return;
  }
}

async function costInCpu(kit: Kit, fleet: Fleet, ports: readonly number[]): Promise<void> {
  const pids = fleet.workers.map(({ pid }) => pid);
  const count = (kit.size === 'full' ? A_MINUTE : A_MINUTE / 4) / SLICES;
  const everyMs = 60_000 / A_MINUTE;
  // Checks go on for weeks: what counts is code that the engine has compiled, not the first hundred.
  for (let round = 0; round < WARM_UP; round++)
    await Promise.all(ports.map((port) => askHealth(port, PATHS[round % 2] as string)));
  await settle(pids);
  const idle: number[] = [];
  const asked: number[] = [];
  const checks = { red: 0, failed: 0, asked: 0, slowestMs: 0 };
  // Slices with and without checks in turn, and the quietest of each kind: what else goes on in the workers and on the machine
  // (a collector, a busy neighbour that empties the caches) only ever adds to a slice.
  for (let slice = 0; slice < SLICES; slice++) {
    const beganMs = cpuMs(pids);
    await pause(count * everyMs);
    const betweenMs = cpuMs(pids);
    const more = await check(ports, count, everyMs);
    idle.push(betweenMs - beganMs);
    asked.push(cpuMs(pids) - betweenMs);
    checks.red += more.red;
    checks.failed += more.failed;
    checks.asked += more.asked;
    checks.slowestMs = Math.max(checks.slowestMs, more.slowestMs);
  }
  const eachMs = (Math.min(...asked) - Math.min(...idle)) / count;
  kit.claim(`CPU of a check, at ${A_MINUTE} a minute`, eachMs, { atMost: 1 }, 'ms');
  kit.claim('checks of idle workers that were red', checks.red, { equals: 0 });
  kit.claim('checks without an answer', checks.failed, { equals: 0 });
  kit.figure('checks', checks.asked);
  kit.figure('slowest answer', checks.slowestMs, 'ms');
}

async function busyIsGreen(kit: Kit, scene: Scene, ports: readonly number[]): Promise<void> {
  const { sender, ledger } = scene;
  const rows = Array.from({ length: 2 * WORKERS * SLOTS }, () => ({ args: [3_000] }));
  await sender.sendMany('drill.append', rows);
  const running = (): number => [...ledger.read().runs.values()].filter((runs) => runs.at(-1)?.endMs === null).length;
  await until(() => running() >= WORKERS * SLOTS, 'every slot is taken');
  const checks = await check(ports, 100, 20);
  kit.claim('checks while every slot is taken and as many tasks wait: red', checks.red + checks.failed, { equals: 0 });
  await until(() => ledger.read().executed.size >= rows.length, 'they have run', 60_000);
}

async function blockedIsRed(kit: Kit, scene: Scene, ports: readonly number[]): Promise<void> {
  const id = await scene.sender.send('drill.block', 8_000);
  await until(() => scene.ledger.read().runs.has(id), 'the blocking task has begun');
  let red: number | null = null;
  const beganMs = performance.now();
  let alive = true;
  while (red === null && performance.now() - beganMs < 8_000) {
    const answers = await Promise.all(ports.map((port) => notReady(port)));
    if (answers.some((codes) => codes.includes('executors-blocked'))) red = performance.now() - beganMs;
    alive &&= (await Promise.all(ports.map((port) => askHealth(port, '/livez')))).every(({ status }) => status === 200);
    await pause(50);
  }
  kit.claim('a task blocks the only executor of a worker: red after', red, { atMost: 4_000 }, 'ms');
  kit.claim('and alive all the time', alive, { equals: true });
  await until(() => scene.ledger.read().executed.has(id), 'the block is over', 30_000);
  await until(async () => (await Promise.all(ports.map((port) => notReady(port)))).flat().length === 0, 'all are green again');
}

async function goneIsRed(kit: Kit, ports: readonly number[]): Promise<void> {
  const { server } = kit.broker;
  if (!server) return;
  const count = async (): Promise<number> =>
    (await Promise.all(ports.map((port) => notReady(port)))).filter((codes) => codes.length > 0).length;
  await server.kill9();
  const goneMs = performance.now();
  await until(async () => (await count()) === WORKERS, 'all are red', 20_000);
  kit.claim('the broker is killed: all red after', performance.now() - goneMs, { atMost: 5_000 }, 'ms');
  const live = await Promise.all(ports.map((port) => askHealth(port, '/livez')));
  kit.claim(
    'and alive, for a restart would not help',
    live.every(({ status }) => status === 200),
    { equals: true },
  );
  await server.restart();
  const backMs = performance.now();
  await until(async () => (await count()) === 0, 'all are green', 30_000);
  kit.claim('it is there again: all green after', performance.now() - backMs, { atMost: 6_000 }, 'ms');
}

export const drill: Drill = {
  name: 'health-checks',
  scenario:
    'Ten workers are asked for their health 1,000 times a minute: idle, with every slot taken, with a task that blocks its executor, and while the broker is gone.',
  brokers: ['file', 'redis', 'rabbitmq'],
  testedOn: [],
  async run(kit) {
    const scene = new Scene(kit, 'health', '5s');
    const traffic = await watchTraffic(kit.broker);
    try {
      const fleet = await scene.fleet({
        ...{ count: WORKERS, concurrency: SLOTS, flags: ['--health-port', '0'] },
        urls: () => ({ broker: traffic.brokerUrl, results: kit.broker.resultUrl }),
      });
      const ports = portsOf(fleet);
      await costInMessages(kit, ports, traffic);
      await costInCpu(kit, fleet, ports);
      await busyIsGreen(kit, scene, ports);
      await blockedIsRed(kit, scene, ports);
      await goneIsRed(kit, ports);
      kit.claim('workers that ended by themselves', fleet.crashes.length, { equals: 0 });
    } finally {
      await scene.close();
      await traffic.close();
    }
  },
};
