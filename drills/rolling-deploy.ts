/**
 * Drill 14: every worker in turn gets TERM under load, as a deploy does it. Each must be gone within its grace and two
 * seconds, what it could not finish must start elsewhere at once, and no attempt may be burnt.
 */
import { fileURLToPath } from 'node:url';
import type { Drill } from './harness/runner.js';
import { type Kit, Scene } from './harness/scene.js';
import { pause, until } from './harness/wait.js';

const APP = fileURLToPath(new URL('./apps/endless.ts', import.meta.url));
const GRACE_MS = 3_000;
const WORKERS = 4;
const CONCURRENCY = 20;
const BATCH = 10;
/** What is handed back must find a slot: fewer are under way than fit into the fleet while one of it is away. */
const MOST_UNDER_WAY = (WORKERS - 1) * CONCURRENCY;

interface Sizes {
  readonly tasks: number;
  readonly rounds: number;
  readonly longestMs: number;
}

const SIZES: Readonly<Record<Kit['size'], Sizes>> = {
  quick: { tasks: 150, rounds: 1, longestMs: 8_000 },
  full: { tasks: 600, rounds: 2, longestMs: 60_000 },
};

export const drill: Drill = {
  name: 'rolling-deploy',
  scenario: `${WORKERS} workers get TERM one after the other, under load, with tasks of up to a minute of which half do not listen to their signal.`,
  brokers: ['file', 'redis', 'rabbitmq'],
  testedOn: ['file'],
  async run(kit) {
    const { tasks, rounds, longestMs } = SIZES[kit.size];
    const name = 'rolling deploy';
    const scene = new Scene(kit, 'deploy', '10s');
    const random = kit.random.fork('tasks');
    try {
      const fleet = await scene.fleet({ count: WORKERS, app: APP, concurrency: CONCURRENCY, grace: `${GRACE_MS}ms` });
      let sending = true;
      const sent = (async () => {
        for (let count = 0; count < tasks; count += BATCH) {
          const rows = Array.from({ length: BATCH }, () => {
            // Many short ones and some long: few of the long would end within the grace.
            const ms = random.next() < 0.7 ? random.between(0, 300) : random.between(300, longestMs);
            return { task: random.next() < 0.5 ? 'endless.append' : 'endless.polite', ms };
          });
          for (const task of ['endless.append', 'endless.polite']) {
            const of = rows.filter((row) => row.task === task).map(({ ms }) => ({ args: [ms] }));
            if (of.length > 0) await scene.sender.sendMany(task, of);
          }
          await until(
            () => scene.ledger.read().sent.size - scene.ledger.read().executed.size <= MOST_UNDER_WAY - BATCH,
            'slots are free',
            300_000,
          );
          await pause(200);
        }
        sending = false;
      })();
      await until(() => scene.ledger.read().executed.size > 10, 'tasks run');
      const exits: { label: string; code: unknown; tookMs: number; goneMs: number }[] = [];
      for (let round = 0; round < rounds; round++) {
        for (let index = 0; index < WORKERS; index++) {
          const label = fleet.workers[index]?.label ?? '';
          const exit = await fleet.deploy(index);
          exits.push({ label, ...exit, goneMs: Date.now() });
          kit.say(`${label} ended with ${String(exit.code)} after ${exit.tookMs} ms`);
          await until(() => fleet.alive().length === WORKERS, 'the new worker is ready', 60_000);
        }
      }
      await sent;
      const verdict = await scene.settled(longestMs + 45_000);
      const { runs, executed } = scene.ledger.read();
      // What a worker began and did not finish, and when it began elsewhere, from the moment when that worker was gone.
      const rerunMs: number[] = [];
      for (const { label, goneMs } of exits) {
        for (const tries of runs.values()) {
          const next = tries.findIndex(({ worker }) => worker === label) + 1;
          if (next > 0 && next < tries.length) rerunMs.push(Math.max(0, (tries[next]?.startMs ?? 0) - goneMs));
        }
      }
      scene.claimNothingLost(name, verdict);
      kit.claim(`${name}: deploys that ended with 0`, exits.filter(({ code }) => code === 0).length, { equals: exits.length });
      kit.claim(
        `${name}: slowest exit after TERM`,
        Math.max(...exits.map(({ tookMs }) => tookMs)),
        { atMost: GRACE_MS + 2_000 },
        'ms',
      );
      kit.claim(`${name}: tasks executed`, executed.size, { equals: tasks });
      kit.claim(`${name}: tasks left unfinished by a worker`, rerunMs.length, { atLeast: 1 });
      kit.claim(`${name}: slowest new start of one of them after the exit`, Math.max(...rerunMs), { atMost: 2_000 }, 'ms');
      kit.claim(`${name}: highest attempt`, Math.max(...[...runs.values()].flat().map(({ attempt }) => attempt)), { equals: 1 });
      kit.claim(`${name}: workers that ended by themselves`, fleet.crashes.length, { equals: 0 });
      kit.claim(`${name}: sending went on during the deploys`, !sending, { equals: true });
      kit.figure(`${name}: tasks`, verdict.sent);
      kit.figure(`${name}: repeated runs, each explained by a deploy`, verdict.duplicates);
    } finally {
      await scene.close();
    }
  },
};
