/**
 * Drill 11: workers, and the broker, die in the middle of everything (SIGKILL), and nothing is lost. Tasks write to the
 * ledger; the ledger decides.
 */
import { fileURLToPath } from 'node:url';
import { hasCelery, startPythonWorker } from '../tests/support/celery.js';
import type { Drill } from './harness/runner.js';
import { type Kit, Scene } from './harness/scene.js';
import { pause, until } from './harness/wait.js';
import type { Fleet } from './harness/workers.js';

const LEASE_MS = 3_000;
const LEASE = '3s';
/** After a kill, others must have begun within the lease and this. */
const TAKE_OVER_MS = 5_000;
/** Nothing happened for so long: what is missing is lost. */
const IDLE_MS = 30_000;
const TOTAL_MS = { quick: 60_000, full: 900_000 } as const;

interface Sizes {
  readonly tasks: number;
  readonly kills: number;
  readonly outages: number;
}

const SIZES: Readonly<Record<Kit['size'], Sizes>> = {
  quick: { tasks: 1_000, kills: 4, outages: 1 },
  full: { tasks: 20_000, kills: 50, outages: 5 },
};

/** Kills workers at random moments, evenly spread over the sending and the running of the tasks. */
async function killWorkers(kit: Kit, scene: Scene, fleet: Fleet, { tasks, kills }: Sizes): Promise<void> {
  const random = kit.random.fork('kills');
  const moments = Array.from({ length: kills }, () => random.next() * 0.95).sort((a, b) => a - b);
  for (const moment of moments) {
    await until(() => scene.ledger.read().executed.size >= moment * tasks, 'the next kill is due', 300_000);
    await pause(random.between(0, 300));
    await until(() => fleet.alive().length > 0, 'a worker is up again');
    await fleet.kill(random.pick(fleet.alive()));
  }
}

/** Kills the broker and starts it again, while tasks are sent and run. */
async function killBroker(kit: Kit, scene: Scene, { tasks, outages }: Sizes): Promise<void> {
  const { server } = kit.broker;
  if (!server) return;
  const random = kit.random.fork('outages');
  for (let nth = 1; nth <= outages; nth++) {
    await until(() => scene.ledger.read().executed.size >= (nth / (outages + 1)) * tasks, 'the next outage is due', 300_000);
    const fromMs = Date.now();
    await server.kill9();
    await pause(random.between(0, 1_000));
    await server.restart();
    scene.ledger.fault({ kind: 'outage', target: 'broker', fromMs, toMs: Date.now() });
    kit.say(`broker killed and started again (${nth} of ${outages})`);
  }
}

async function sendAll(kit: Kit, scene: Scene, count: number): Promise<void> {
  const random = kit.random.fork('tasks');
  for (let sent = 0; sent < count; ) {
    const rows = Array.from({ length: Math.min(100, count - sent) }, () => ({ args: [random.between(0, 150)] }));
    await scene.sender.sendMany('drill.append', rows);
    sent += rows.length;
    // No more than a bounded backlog, so that sending goes on while things die.
    await until(() => sent - scene.ledger.read().executed.size < 2_000, 'the backlog shrinks', 300_000);
  }
}

const PYTHON = { folder: fileURLToPath(new URL('./apps/', import.meta.url)), module: 'append_python' };

type CeleryVersion = '5.2' | '5.6';

/** A Celery worker on the same queue; nobody harms it. */
async function startPython(kit: Kit, scene: Scene, version: CeleryVersion): Promise<{ stop(): Promise<void> }> {
  const { brokerUrl, resultUrl } = kit.broker;
  // It inherits this process' environment.
  process.env['LOVAGE_DRILL_LEDGER'] = scene.ledger.file;
  process.env['LOVAGE_DRILL_WORKER'] = PYTHON_LABEL;
  try {
    return await startPythonWorker(version, brokerUrl, resultUrl, { ...PYTHON, queue: scene.queue });
  } finally {
    delete process.env['LOVAGE_DRILL_LEDGER'];
    delete process.env['LOVAGE_DRILL_WORKER'];
  }
}

const PYTHON_LABEL = 'py';

async function playKills(kit: Kit, queue: string, name: string, sizes: Sizes, version?: CeleryVersion): Promise<void> {
  const scene = new Scene(kit, queue, LEASE);
  let python: { stop(): Promise<void> } | null = null;
  try {
    if (version) python = await startPython(kit, scene, version);
    const fleet = await scene.fleet({ count: 3, concurrency: 10, flags: ['--log-level', 'debug'] });
    const startedMs = Date.now();
    await Promise.all([sendAll(kit, scene, sizes.tasks), killWorkers(kit, scene, fleet, sizes), killBroker(kit, scene, sizes)]);
    const verdict = await scene.settled(IDLE_MS, undefined, TOTAL_MS[kit.size]);
    const { faults } = scene.ledger.read();
    scene.claimNothingLost(name, verdict);
    kit.claim(`${name}: workers killed`, faults.filter(({ kind }) => kind === 'kill').length, { equals: sizes.kills });
    kit.claim(`${name}: tasks that a kill interrupted`, verdict.interrupted, { atLeast: 1 });
    kit.claim(
      `${name}: slowest new start after a kill or the end of an outage`,
      verdict.slowestRerunMs,
      { atMost: LEASE_MS + TAKE_OVER_MS },
      'ms',
    );
    kit.claim(`${name}: workers that ended by themselves`, fleet.crashes.length, { equals: 0 });
    if (version) {
      const byPython = [...scene.ledger.read().runs.values()].flat().filter(({ worker }) => worker === PYTHON_LABEL);
      kit.claim(`${name}: tasks that Python ran`, byPython.length, { atLeast: 1 });
    }
    kit.figure(`${name}: tasks`, verdict.sent);
    kit.figure(`${name}: repeated runs, each explained`, verdict.duplicates);
    kit.figure(`${name}: sends repeated by the client`, scene.sender.repeated);
    kit.figure(`${name}: duration`, (Date.now() - startedMs) / 1_000, 's');
  } finally {
    await python?.stop();
    await scene.close();
  }
}

/** 50 tasks run at once in one worker, and one of them takes the process with it, again and again. */
async function playKiller(kit: Kit): Promise<void> {
  const name = 'a task that kills its process';
  const scene = new Scene(kit, 'killer', LEASE);
  try {
    const killer = await scene.sender.send('drill.killer', 300);
    const neighbours = await scene.sender.sendMany(
      'drill.append',
      Array.from({ length: 49 }, () => ({ args: [400] })),
    );
    const fleet = await scene.fleet({ count: 1, concurrency: 50 });
    const verdict = await scene.settled(IDLE_MS, undefined, TOTAL_MS[kit.size]);
    const parked = await scene.parked([killer, ...neighbours]);
    // Results are written before the delivery is settled, so they are there when the ledger is complete or soon after.
    const succeeded = await Promise.all(
      neighbours.map((id) =>
        scene.sender
          .handle(id)
          .result({ timeout: '20s' })
          .then(
            () => true,
            () => false,
          ),
      ),
    );
    scene.claimNothingLost(name, verdict);
    kit.claim(`${name}: messages parked`, parked.size, { equals: 1 });
    kit.claim(`${name}: it is the one that is parked`, parked.has(killer), { equals: true });
    kit.claim(`${name}: its state`, await scene.sender.handle(killer).state(), { equals: 'FAILURE' });
    kit.claim(`${name}: neighbours that succeed`, succeeded.filter(Boolean).length, { equals: 49 });
    // RabbitMQ does not tell why it delivers again, so there the first process that dies with a message is not counted.
    const deaths = kit.broker.name === 'rabbitmq' ? 4 : 3;
    kit.claim(`${name}: processes that it took`, fleet.crashes.length, { atMost: deaths });
  } finally {
    await scene.close();
  }
}

export const drill: Drill = {
  name: 'kill-nine',
  scenario:
    'Workers are killed with -9 at random moments while tasks are sent and run; again with the broker killed and restarted meanwhile; again with Celery workers on the same queue; and one task among 50 kills its own process.',
  brokers: ['file', 'redis', 'rabbitmq'],
  testedOn: ['file'],
  async run(kit) {
    const sizes = SIZES[kit.size];
    await playKills(kit, 'kills', 'workers killed', { ...sizes, outages: 0 });
    if (kit.broker.server) {
      await playKills(kit, 'outages', 'workers and broker killed', sizes);
      for (const version of (['5.6', '5.2'] as const).filter(hasCelery).slice(0, kit.size === 'full' ? 2 : 1)) {
        const name = `workers killed beside Celery ${version}`;
        await playKills(kit, `beside-python-${version}`, name, { ...sizes, outages: 0 }, version);
      }
    }
    await playKiller(kit);
  },
};
