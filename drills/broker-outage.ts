/**
 * Drill 13: the broker, or the network to it, is gone for seconds or minutes, in every way that we know of, while tasks are
 * sent and run. The worker must say so, come back by itself, and lose nothing.
 */
import { type FaultProxy, startFaultProxy } from '../tests/support/fault-proxy.js';
import type { ServerFaults } from './harness/brokers.js';
import type { Drill } from './harness/runner.js';
import { type Kit, Scene } from './harness/scene.js';
import { pause, until } from './harness/wait.js';

/** After it is over, a task that is sent must have begun within this. */
const BACK_MS = 5_000;
/** A broken connection that says nothing is found by its silence. */
const NOTICED_MS = 12_000;

interface Outage {
  readonly name: string;
  readonly seconds: number;
  /** Senders feel it too: the broker itself is what fails. */
  readonly broker: boolean;
  /** Long or plain enough that `/readyz` must have turned red. */
  readonly red: boolean;
  begin(place: Place): Promise<void> | void;
  end(place: Place): Promise<void> | void;
}

interface Place {
  readonly server: ServerFaults;
  readonly proxy: FaultProxy;
}

const stopped = (seconds: number): Outage => ({
  name: `broker killed for ${seconds} s`,
  seconds,
  broker: true,
  red: true,
  begin: ({ server }) => server.kill9(),
  end: ({ server }) => server.restart(),
});
const network = (name: string, seconds: number, begin: (proxy: FaultProxy) => void): Outage => ({
  name,
  seconds,
  broker: false,
  red: seconds * 1_000 >= NOTICED_MS,
  begin: ({ proxy }) => begin(proxy),
  end: ({ proxy }) => proxy.pass(),
});
const frozen = (seconds: number): Outage => ({
  name: `broker stopped (SIGSTOP) for ${seconds} s and continued`,
  seconds,
  broker: true,
  red: seconds * 1_000 >= NOTICED_MS,
  begin: ({ server }) => server.pause(),
  end: ({ server }) => server.resume(),
});

function outages(size: Kit['size']): Outage[] {
  const silent = size === 'full' ? 30 : 14;
  return [
    stopped(3),
    ...(size === 'full' ? [stopped(30), stopped(300)] : []),
    network('connections reset', 0, (proxy) => proxy.reset()),
    network('connections refused', 5, (proxy) => proxy.refuse()),
    network('black hole', silent, (proxy) => proxy.blackHole()),
    ...(size === 'full' ? [network('half-open: nothing comes from the broker', silent, (proxy) => proxy.halfOpen())] : []),
    ...(size === 'full'
      ? [network('half-open: nothing reaches the broker', silent, (proxy) => proxy.halfOpen('to-server'))]
      : []),
    ...(size === 'full' ? [network('cable pulled, then everything arrives', silent, (proxy) => proxy.stall())] : []),
    frozen(silent),
  ];
}

/** Whether the worker says that it can take tasks; `null` when it does not answer. */
async function ready(port: number): Promise<boolean | null> {
  try {
    return (await fetch(`http://127.0.0.1:${port}/readyz`, { signal: AbortSignal.timeout(2_000) })).status === 200;
  } catch {
    return null;
  }
}

/**
 * When the worker consumed again: the first start after the outage of a task that was sent since it began. What was sent before may
 * have been in the worker's hands all the time.
 */
function beganAgain(scene: Scene, fromMs: number, overMs: number): number {
  const { sent, runs } = scene.ledger.read();
  let first = Number.POSITIVE_INFINITY;
  for (const [id, tries] of runs) {
    const startMs = tries[0]?.startMs ?? 0;
    if ((sent.get(id) ?? 0) >= fromMs && startMs >= overMs) first = Math.min(first, startMs);
  }
  return first;
}

async function play(kit: Kit): Promise<void> {
  const { server } = kit.broker;
  if (server === null) return;
  const proxy = await startFaultProxy({ target: { host: '127.0.0.1', port: server.port } });
  const scene = new Scene(kit, 'outage', '10s');
  try {
    const shared = kit.broker.brokerUrl === kit.broker.resultUrl;
    const urls = (): { broker: string; results: string } => ({
      broker: proxy.url(kit.broker.brokerUrl),
      results: shared ? proxy.url(kit.broker.resultUrl) : kit.broker.resultUrl,
    });
    const fleet = await scene.fleet({ count: 1, concurrency: 20, urls, flags: ['--health-port', '0'] });
    const port = Number(fleet.log('health server listens')[0]?.['port']);
    kit.claim('the worker tells where its health server listens', Number.isInteger(port), { equals: true });

    let loading = true;
    const load = (async () => {
      for (; loading; await pause(200)) {
        const rows = Array.from({ length: 5 }, () => ({ args: [50] }));
        await scene.sender.sendMany('drill.append', rows);
      }
    })();
    // heard when it is awaited: thrown now it would end all drills
    load.catch(() => {});
    const begun = (id: string): boolean => scene.ledger.read().runs.has(id);
    for (const outage of outages(kit.size)) {
      kit.say(outage.name);
      await until(async () => (await ready(port)) === true, 'the worker is ready before the outage', 60_000);
      const fromMs = Date.now();
      let sawRed = false;
      let silent = 0;
      await outage.begin({ server, proxy });
      for (const end = fromMs + outage.seconds * 1_000; Date.now() < end; await pause(250)) {
        const state = await ready(port);
        if (state === null) silent += 1;
        sawRed ||= state === false;
      }
      await outage.end({ server, proxy });
      const overMs = Date.now();
      scene.ledger.fault({ kind: 'outage', target: 'broker', fromMs, toMs: overMs });
      const probe = await scene.sender.send('drill.append', 0);
      const sentMs = Date.now();
      await until(() => begun(probe), 'a task sent after the outage runs', 60_000);
      const sinceMs = Math.max(overMs, Math.min(sentMs, overMs + 1_000));
      kit.claim(
        `${outage.name}: consuming again after`,
        Math.max(0, beganAgain(scene, fromMs, overMs) - sinceMs),
        { atMost: BACK_MS },
        'ms',
      );
      // Behind all that was sent in the meantime, which is a question of slots.
      const probeMs = (scene.ledger.read().runs.get(probe)?.[0]?.startMs ?? Number.NaN) - sinceMs;
      kit.figure(`${outage.name}: a task sent then, behind the backlog, began after`, Math.max(0, probeMs), 'ms');
      if (outage.red) kit.claim(`${outage.name}: /readyz was red in between`, sawRed, { equals: true });
      kit.claim(`${outage.name}: health checks without an answer`, silent, { equals: 0 });
      await until(async () => (await ready(port)) === true, 'the worker is ready again', 60_000);
    }
    if (server.alarm) await playAlarm(kit, scene, server.alarm);
    loading = false;
    await load;
    const verdict = await scene.settled(60_000);
    scene.claimNothingLost('all outages', verdict);
    kit.claim('ends of the worker', fleet.crashes.length, { equals: 0 });
    kit.figure('tasks', verdict.sent);
    kit.figure('sends repeated by the client', scene.sender.repeated);
    kit.figure('repeated runs, each explained', verdict.duplicates);
  } finally {
    await scene.close();
    await proxy.close();
  }
}

/** The broker takes nothing more: what runs must end and be acknowledged, and a send must say at its deadline that it failed. */
async function playAlarm(kit: Kit, scene: Scene, alarm: NonNullable<ServerFaults['alarm']>): Promise<void> {
  const name = 'memory alarm';
  const holdMs = kit.size === 'full' ? 60_000 : 8_000;
  kit.say(name);
  const running = await scene.sender.sendMany('drill.append', [{ args: [3_000] }, { args: [3_000] }]);
  await until(() => running.every((id) => scene.ledger.read().runs.has(id)), 'they run');
  const fromMs = Date.now();
  alarm.raise();
  const remote = scene.sender.app.remote<[number], unknown>('drill.append');
  const startedMs = Date.now();
  const failure = await remote
    .with({ timeout: '3s' })
    .send(0)
    .then(
      () => null,
      (error: { readonly code?: string; readonly outcome?: string; readonly taskId?: string }) => error,
    );
  kit.claim(`${name}: a send fails with`, failure?.code ?? 'no error', { equals: 'E_PUBLISH_TIMEOUT' });
  kit.claim(`${name}: it knows whether it was sent`, failure?.outcome === 'unknown' || failure?.outcome === 'not-sent', {
    equals: true,
  });
  kit.claim(`${name}: it fails at its deadline of 3 s after`, Date.now() - startedMs, { atMost: 4_500 }, 'ms');
  await until(() => running.every((id) => scene.ledger.read().executed.has(id)), 'running tasks end');
  kit.claim(`${name}: running tasks that end`, running.filter((id) => scene.ledger.read().executed.has(id)).length, {
    equals: 2,
  });
  await pause(Math.max(0, fromMs + holdMs - Date.now()));
  alarm.clear();
  const overMs = Date.now();
  scene.ledger.fault({ kind: 'alarm', target: 'broker', fromMs, toMs: overMs });
  const probe = await scene.sender.send('drill.append', 0);
  await until(() => scene.ledger.read().runs.has(probe), 'a task sent after the alarm runs', 60_000);
  // Its outcome was unknown: if it ran it was sent.
  const unclear = failure?.taskId ?? '';
  if (scene.ledger.read().runs.has(unclear)) scene.ledger.sent([unclear]);
  kit.claim(
    `${name}: consuming again after`,
    Math.max(0, (scene.ledger.read().runs.get(probe)?.[0]?.startMs ?? Number.NaN) - overMs),
    { atMost: BACK_MS },
    'ms',
  );
}

export const drill: Drill = {
  name: 'broker-outage',
  scenario:
    'Under load the broker is killed for a while, its connections are reset, refused, swallowed in one or both directions or delayed, it is stopped and continued, and (RabbitMQ) raises its memory alarm.',
  brokers: ['redis', 'rabbitmq'],
  testedOn: ['redis'],
  run: play,
};
