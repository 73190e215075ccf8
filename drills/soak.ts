/**
 * `npm run soak -- [--broker b] [--minutes n] [--seed s]`: one worker under steady load for a long time, with 5 % failing
 * tasks and the broker killed and restarted every few minutes. What grows with traffic shows as a slope after the warm-up,
 * judged in `harness/memory.ts`. Tasks are judged by the ledger as in every drill; no part of `npm run drills`, for it takes its time.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { printLine, printNote } from '../src/cli/output.js';
import { BROKER_NAMES, type BrokerName } from './harness/brokers.js';
import { floors, growth, median, probedBy, type Reading, readMemory, warm } from './harness/memory.js';
import { commitHash, type Drill, runDrill } from './harness/runner.js';
import { type Kit, Scene } from './harness/scene.js';
import { pause, until } from './harness/wait.js';

const SAMPLE_MS = 5_000;
/** The heap finds its size, code is compiled, caches fill. */
const WARM_UP = 0.3;
/** Minutes: fewer leave too few readings after the warm-up. */
const SHORTEST = 10;
const OUTAGE_EVERY_MS = 150_000;
/** Tasks a second, about; a worker that is kept busy all the time, not one that is overrun. */
const BATCH = 100;
const BATCH_EVERY_MS = 250;

const inWords = (readings: readonly Reading[], digits: number): string =>
  readings.map(({ value }) => value.toFixed(digits)).join(' ');

/** The least of the last minute against the middle of the run. */
function surplus(readings: readonly Reading[]): number {
  return (floors(readings).at(-1)?.value ?? Number.NaN) - median(readings.map(({ value }) => value));
}

function soak(minutes: number): Drill {
  return {
    name: 'soak',
    scenario: `One worker under steady load for ${minutes} minutes, 5 % of the tasks fail, and the broker is killed and restarted every two and a half minutes.`,
    brokers: BROKER_NAMES,
    run: (kit) => play(kit, minutes),
  };
}

async function play(kit: Kit, minutes: number): Promise<void> {
  const scene = new Scene(kit, 'soak', '5s');
  const random = kit.random.fork('tasks');
  try {
    const memoryFile = join(kit.folder, 'memory');
    const fleet = await scene.fleet({ count: 1, executors: 2, concurrency: 50, nodeFlags: probedBy(memoryFile) });
    const pid = fleet.workers[0]?.pid ?? 0;
    const endMs = performance.now() + minutes * 60_000;
    const handles: Reading[] = [];
    let failing = 0;
    const sending = async (): Promise<void> => {
      while (performance.now() < endMs) {
        const tries = Array.from({ length: BATCH }, () => (random.next() < 0.05 ? 1 : 0));
        failing += tries.filter(Boolean).length;
        await scene.sender.sendMany(
          'drill.flaky',
          tries.map((times) => ({ args: [times] })),
        );
        await until(
          () => scene.ledger.read().sent.size - scene.ledger.read().executed.size < 5_000,
          'the backlog shrinks',
          300_000,
        );
        await pause(BATCH_EVERY_MS);
      }
    };
    const watching = async (): Promise<void> => {
      for (; performance.now() < endMs; await pause(SAMPLE_MS))
        handles.push({ atMs: Date.now(), value: readdirSync(`/proc/${pid}/fd`).length });
    };
    const breaking = async (): Promise<void> => {
      const { server } = kit.broker;
      if (!server) return;
      for (await pause(OUTAGE_EVERY_MS); performance.now() < endMs - 30_000; await pause(OUTAGE_EVERY_MS)) {
        const fromMs = Date.now();
        await server.kill9();
        await pause(random.between(0, 2_000));
        await server.restart();
        scene.ledger.fault({ kind: 'outage', target: 'broker', fromMs, toMs: Date.now() });
        kit.say(`broker killed and started again; ${scene.ledger.read().executed.size} tasks so far`);
      }
    };
    await Promise.all([sending(), watching(), breaking()]);
    const verdict = await scene.settled(60_000);
    const { living, resources, resident } = readMemory(memoryFile);
    const ofLiving = growth(warm(living, WARM_UP));
    const ofResident = growth(warm(resident, WARM_UP));
    scene.claimNothingLost('soak', verdict);
    kit.claim('soak: growth of what lives in memory, at least', ofLiving.certain, { atMost: 1 }, 'MiB / 10 min');
    kit.claim('soak: growth of resident memory, at least', ofResident.certain, { atMost: 1 }, 'MiB / 10 min');
    kit.claim('soak: open files and sockets at the end, over the middle of the run', surplus(handles), { atMost: 3 });
    kit.claim('soak: timers and requests at the end, over the middle of the run', surplus(resources), { atMost: 3 });
    kit.claim('soak: ends of the worker', fleet.crashes.length, { equals: 0 });
    kit.claim('soak: tasks that failed once', failing, { atLeast: 1 });
    kit.figure('soak: tasks', verdict.sent);
    kit.figure('soak: repeated runs, each explained', verdict.duplicates);
    kit.figure('soak: likely growth of what lives in memory', ofLiving.likely, 'MiB / 10 min');
    kit.figure('soak: likely growth of resident memory', ofResident.likely, 'MiB / 10 min');
    kit.figure('soak: open files and sockets', median(handles.map(({ value }) => value)));
    kit.figure('soak: what lives in memory, minute by minute', inWords(living, 2), 'MiB');
    kit.figure('soak: least resident memory, minute by minute', inWords(resident, 1), 'MiB');
  } finally {
    await scene.close();
  }
}

const { values: flags } = parseArgs({
  options: {
    broker: { type: 'string', multiple: true, default: ['redis'] },
    minutes: { type: 'string', default: '30' },
    seed: { type: 'string', default: commitHash().slice(0, 12) },
  },
});
const minutes = Number(flags.minutes);
if (!(minutes >= SHORTEST)) {
  printNote(`--minutes ${flags.minutes}: give at least ${SHORTEST}, less says nothing about growth`);
  process.exit(2);
}
let ok = true;
for (const broker of flags.broker as BrokerName[]) {
  const say = (text: string): void => printNote(`  ${text}`);
  const result = await runDrill(soak(minutes), { broker, size: 'full', seed: flags.seed, say });
  for (const { sentence, measured, bound, holds } of result.claims)
    printLine(`${holds ? 'holds ' : 'BROKEN'} ${sentence}: ${String(measured)} (${bound})`);
  for (const { name, value, unit } of result.figures) printLine(`       ${name}: ${value} ${unit}`);
  if (result.error !== null) printLine(`the soak itself failed: ${result.error}`);
  printLine(`soak on ${broker}: ${result.ok ? 'green' : 'RED'}, seed ${result.seed}`);
  ok &&= result.ok;
}
process.exit(ok ? 0 : 1);
