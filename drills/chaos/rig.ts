/**
 * The chaos rig: three workers, a sender, a broker, each behind a network of its own, and faults drawn from a seed while
 * thousands of tasks go through. In the end everything is healed, and the ledger must balance: what was sent was executed,
 * parked or has expired, and whatever ran twice ran twice because of a fault that is on record.
 */
import { type FaultProxy, startFaultProxy } from '../../tests/support/fault-proxy.js';
import type { DrillBroker } from '../harness/brokers.js';
import { buildTasks } from '../harness/built-app.js';
import type { Accounted } from '../harness/judge.js';
import type { Run } from '../harness/ledger.js';
import type { Drill } from '../harness/runner.js';
import { type Kit, Scene } from '../harness/scene.js';
import type { Sender } from '../harness/sender.js';
import { pause, until, untilOrStuck } from '../harness/wait.js';
import type { Fleet } from '../harness/workers.js';
import { Faults } from './faults.js';
import { type Planned, plannedTasks, timeline, type Victim, WORKERS } from './timeline.js';

const LEASE = '3s';
/** A worker that is stopped for longer has died, as far as the others can tell. */
const LEASE_MS = 3_000;
/** RabbitMQ notices a silent client after two of these. */
const HEARTBEAT_S = 2;
const BATCH = 50;
/** Slow enough for faults to meet work: 20 s for the quick size of 2,000, 80 s for 20,000. */
const tasksPerSecond = (count: number): number => Math.max(100, count / 80);
const BACKLOG = 600;
/** Nothing happened for so long after everything was healed: what is missing is lost. */
const IDLE_MS = 45_000;

/** A proxy in front of the broker for each victim. Results go through the same one where store and broker are one. */
async function openNetworks({ server }: DrillBroker): Promise<Map<Victim, FaultProxy>> {
  const networks = new Map<Victim, FaultProxy>();
  if (!server) return networks;
  for (const victim of ['sender', ...Array.from({ length: WORKERS }, (_, index) => index)] as const)
    networks.set(victim, await startFaultProxy({ target: { host: '127.0.0.1', port: server.port } }));
  return networks;
}

function through(
  proxy: FaultProxy | undefined,
  { name, brokerUrl, resultUrl }: DrillBroker,
): { broker: string; results: string } {
  if (!proxy) return { broker: brokerUrl, results: resultUrl };
  const broker = `${proxy.url(brokerUrl)}${name === 'rabbitmq' ? `?heartbeat=${HEARTBEAT_S}` : ''}`;
  return { broker, results: resultUrl === brokerUrl ? broker : resultUrl };
}

/** Sends everything, at the pace at which it is done. Returns the ids of tasks that may end otherwise than by running. */
async function sendAll(scene: Scene, tasks: readonly Planned[]): Promise<{ expiring: string[]; killers: string[] }> {
  const expiring: string[] = [];
  const killers: string[] = [];
  const startedMs = performance.now();
  for (let sent = 0; sent < tasks.length; sent += BATCH) {
    await pause(startedMs + (sent / tasksPerSecond(tasks.length)) * 1_000 - performance.now());
    const batch = tasks.slice(sent, sent + BATCH);
    for (const name of new Set(batch.map(({ task }) => task))) {
      const rows = batch.filter(({ task }) => task === name);
      const ids = await scene.sender.sendMany(name, rows as never);
      expiring.push(...ids.filter((_, index) => rows[index]?.options?.expires !== undefined));
      if (name === 'drill.killer') killers.push(...ids);
    }
    await until(
      () => scene.ledger.read().sent.size - scene.ledger.read().executed.size < BACKLOG,
      'the backlog shrinks',
      300_000,
    );
  }
  return { expiring, killers };
}

/** RabbitMQ drops expired messages itself, and nobody hears of it: a task unknown to the store has expired there. */
const hasExpired = (kit: Kit, state: string): boolean =>
  state === 'REVOKED' || (kit.broker.name === 'rabbitmq' && state === 'PENDING');

async function statesOf(sender: Sender, ids: readonly string[]): Promise<Map<string, string>> {
  const states = new Map<string, string>();
  for (let index = 0; index < ids.length; index += 500)
    await Promise.all(ids.slice(index, index + 500).map(async (id) => states.set(id, await sender.handle(id).state())));
  return states;
}

async function expiredOf(kit: Kit, sender: Sender, ids: readonly string[]): Promise<Set<string>> {
  const states = await statesOf(sender, ids);
  return new Set(ids.filter((id) => hasExpired(kit, states.get(id) ?? '')));
}

/**
 * Tasks that ran to their end and whose result, in the end, is not SUCCESS. One whose worker died between its end and its
 * result is delivered again, and may have expired by then.
 */
async function withoutSuccess(
  kit: Kit,
  scene: Scene,
  expiring: ReadonlySet<string>,
  parked: ReadonlySet<string>,
): Promise<string[]> {
  let open = [...scene.ledger.read().executed].filter((id) => !parked.has(id));
  await untilOrStuck(
    async () => {
      const states = await statesOf(scene.sender, open);
      const isFine = (id: string, state: string): boolean => state === 'SUCCESS' || (expiring.has(id) && hasExpired(kit, state));
      open = open.filter((id) => !isFine(id, states.get(id) ?? ''));
      return open.length === 0;
    },
    () => `${open.length} ${scene.ledger.read().lines}`,
    { idleMs: IDLE_MS, totalMs: 90_000 },
  );
  for (const id of open.slice(0, 10)) kit.say(`no SUCCESS: ${id} ${await scene.sender.handle(id).state()}`);
  return open;
}

/**
 * Of so many tasks one may be parked though it never ended its worker. Three deaths of workers park a task; the first counts for all that
 * a worker held, and each further one from the moment on in which it was about to start it. With a death every few seconds and the broker
 * away in between, that meets some. On RabbitMQ more: a worker that is cut off for longer than its lease counts as dead there, and the
 * rig's lease of 3 s is shorter than that broker's own restart.
 */
const ONE_PARKED_IN = { file: 1_000, redis: 1_000, rabbitmq: 250 };

/** How often a worker died while it ran this task, or between its end and its settlement, which waits while the broker is out of reach. */
function deathsUnder(scene: Scene, id: string): number {
  const { runs, faults } = scene.ledger.read();
  const died = ({ worker, startMs, endMs }: Run): boolean =>
    faults.some(({ kind, target, fromMs, toMs }) => {
      const isDeath = kind === 'kill' || (kind === 'stop' && toMs - fromMs >= LEASE_MS);
      if (!isDeath || target !== worker || toMs < startMs) return false;
      if (endMs === null || fromMs <= endMs + 2_000) return true;
      const network = `network:${worker.split('.')[0]}`;
      return faults.some(
        (other) => (other.target === 'broker' || other.target === network) && other.fromMs <= toMs && other.toMs >= endMs,
      );
    });
  return (runs.get(id) ?? []).filter(died).length;
}

/** Ends of workers that neither a fault nor the task that kills its process explains. */
function strangeEnds(scene: Scene, fleet: Fleet, killers: readonly string[]): string {
  const { runs } = scene.ledger.read();
  const byKiller = new Set(killers.flatMap((id) => (runs.get(id) ?? []).map(({ worker }) => worker)));
  const strange = fleet.crashes.filter(({ label }) => !byKiller.has(label));
  return strange.map(({ label, how }) => `${label}: ${how}`).join(', ') || 'none';
}

async function play(kit: Kit, count: number): Promise<void> {
  const networks = await openNetworks(kit.broker);
  const ours = through(networks.get('sender'), kit.broker);
  const scene = new Scene({ ...kit, broker: { ...kit.broker, brokerUrl: ours.broker, resultUrl: ours.results } }, 'chaos', LEASE);
  try {
    const urls = (worker: number): { broker: string; results: string } => through(networks.get(worker - 1), kit.broker);
    const fleet = await scene.fleet({ app: buildTasks(kit.folder), count: WORKERS, executors: 2, concurrency: 12, urls });
    const faults = new Faults({ ledger: scene.ledger, fleet, server: kit.broker.server, networks });
    const startedMs = Date.now();
    let allSent = false;
    const isOver = (): boolean => allSent && scene.ledger.read().executed.size >= count * 0.9;
    const tasks = plannedTasks(kit.random.fork('tasks'), count);
    const [{ expiring, killers }] = await Promise.all([
      sendAll(scene, tasks).finally(() => {
        allSent = true;
      }),
      faults.play(timeline(kit.random.fork('faults'), kit.broker.name), isOver),
    ]);
    const more = async (): Promise<Accounted> => {
      const { executed } = scene.ledger.read();
      return {
        expired: await expiredOf(
          kit,
          scene.sender,
          expiring.filter((id) => !executed.has(id)),
        ),
      };
    };
    const verdict = await scene.settled(IDLE_MS, more, 150_000);
    const parked = await scene.parked();
    const healthy = [...parked].filter((id) => !killers.includes(id));
    for (const id of healthy) kit.say(`parked after ${deathsUnder(scene, id)} deaths under it: ${id}`);
    const unsuccessful = await withoutSuccess(kit, scene, new Set(expiring), parked);
    scene.claimNothingLost('chaos', verdict);
    kit.claim('executed tasks whose result is not SUCCESS', unsuccessful.length, { equals: 0 });
    kit.claim('the task that kills its process is parked', killers.length > 0 && killers.every((id) => parked.has(id)), {
      equals: true,
    });
    kit.claim('tasks parked that no worker died under', healthy.filter((id) => deathsUnder(scene, id) === 0).length, {
      equals: 0,
    });
    kit.claim('other tasks parked', healthy.length, { atMost: Math.ceil(count / ONE_PARKED_IN[kit.broker.name]) });
    kit.claim('workers that ended without a fault or a killer', strangeEnds(scene, fleet, killers), { equals: 'none' });
    kit.claim('exit codes when asked to stop', [...new Set(await fleet.close())].join(' '), { equals: '0' });
    kit.figure('tasks', verdict.sent);
    kit.figure('parked', parked.size);
    kit.figure('expired', verdict.expired);
    kit.figure('repeated runs, each explained', verdict.duplicates);
    kit.figure('sends repeated by the client', scene.sender.repeated);
    kit.figure('faults', [...faults.done].map(([name, times]) => `${times} ${name}`).join(', '));
    kit.figure('duration', Math.round((Date.now() - startedMs) / 1_000), 's');
  } finally {
    await Promise.all([...networks.values()].map((proxy) => proxy.pass()));
    await scene.close();
    await Promise.all([...networks.values()].map((proxy) => proxy.close()));
  }
}

export function chaos(tasks: number): Drill {
  return {
    name: 'chaos',
    scenario: `Three workers, ${tasks} tasks, and faults drawn from a seed: workers killed, stopped and deployed, networks that reset, refuse, swallow, stall, crawl and cut, the broker killed and paused.`,
    brokers: ['file', 'redis', 'rabbitmq'],
    run: (kit) => play(kit, tasks),
  };
}
