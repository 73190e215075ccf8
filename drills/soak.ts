/**
 * `npm run soak -- [--broker b] [--minutes n] [--seed s]`: one worker under steady load for a long time, with 5 % failing
 * tasks and the broker killed and restarted every few minutes. What grows with traffic shows as a slope: of memory after
 * the warm-up, and of open handles. Judged by the ledger like every drill; no part of `npm run drills`, for it takes its time.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { printLine, printNote } from '../src/cli/output.js';
import { BROKER_NAMES, type BrokerName } from './harness/brokers.js';
import { commitHash, type Drill, runDrill } from './harness/runner.js';
import { type Kit, Scene } from './harness/scene.js';
import { pause, until } from './harness/wait.js';

const SAMPLE_MS = 5_000;
/** The heap finds its size, code is compiled, caches fill. */
const WARM_UP = 0.3;
const OUTAGE_EVERY_MS = 150_000;
/** Tasks a second, about; a worker that is kept busy all the time, not one that is overrun. */
const BATCH = 100;
const BATCH_EVERY_MS = 250;

interface Sample {
  readonly atMs: number;
  readonly rssMiB: number;
  readonly handles: number;
}

function sample(pid: number): Sample {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const rss = Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? Number.NaN);
  return { atMs: performance.now(), rssMiB: rss / 1_024, handles: readdirSync(`/proc/${pid}/fd`).length };
}

/** The least memory of each minute: what garbage collection leaves, not what lies between two of them. */
function floors(samples: readonly Sample[]): Sample[] {
  const byMinute = new Map<number, Sample>();
  for (const one of samples) {
    const minute = Math.floor(one.atMs / 60_000);
    const least = byMinute.get(minute);
    if (!least || one.rssMiB < least.rssMiB) byMinute.set(minute, one);
  }
  return [...byMinute.values()];
}

/** MiB in ten minutes, by least squares. */
function slope(samples: readonly Sample[]): number {
  const meanX = samples.reduce((sum, { atMs }) => sum + atMs, 0) / samples.length;
  const meanY = samples.reduce((sum, { rssMiB }) => sum + rssMiB, 0) / samples.length;
  let above = 0;
  let below = 0;
  for (const { atMs, rssMiB } of samples) {
    above += (atMs - meanX) * (rssMiB - meanY);
    below += (atMs - meanX) ** 2;
  }
  return (above / below) * 600_000;
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
    const fleet = await scene.fleet({ count: 1, executors: 2, concurrency: 50 });
    const pid = fleet.workers[0]?.pid ?? 0;
    const endMs = performance.now() + minutes * 60_000;
    const samples: Sample[] = [];
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
      for (; performance.now() < endMs; await pause(SAMPLE_MS)) samples.push(sample(pid));
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
    const warm = samples.slice(Math.floor(samples.length * WARM_UP));
    const handles = warm.map((one) => one.handles).sort((a, b) => a - b);
    const typical = handles[Math.floor(handles.length / 2)] ?? Number.NaN;
    scene.claimNothingLost('soak', verdict);
    kit.claim('soak: slope of resident memory after the warm-up', slope(floors(warm)), { atMost: 1 }, 'MiB / 10 min');
    kit.claim('soak: open handles at the end against the middle of the run', (handles.at(-1) ?? 0) - typical, { atMost: 3 });
    kit.claim('soak: ends of the worker', fleet.crashes.length, { equals: 0 });
    kit.claim('soak: tasks that failed once', failing, { atLeast: 1 });
    kit.figure('soak: tasks', verdict.sent);
    kit.figure('soak: repeated runs, each explained', verdict.duplicates);
    kit.figure('soak: memory at the end', samples.at(-1)?.rssMiB ?? 0, 'MiB');
    kit.figure('soak: handles', typical);
    kit.figure(
      'soak: least memory of each minute',
      floors(samples)
        .map(({ rssMiB }) => Math.round(rssMiB))
        .join(' '),
      'MiB',
    );
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
let ok = true;
for (const broker of flags.broker as BrokerName[]) {
  const say = (text: string): void => printNote(`  ${text}`);
  const result = await runDrill(soak(Number(flags.minutes)), { broker, size: 'full', seed: flags.seed, say });
  for (const { sentence, measured, bound, holds } of result.claims)
    printLine(`${holds ? 'holds ' : 'BROKEN'} ${sentence}: ${String(measured)} (${bound})`);
  for (const { name, value, unit } of result.figures) printLine(`       ${name}: ${value} ${unit}`);
  if (result.error !== null) printLine(`the soak itself failed: ${result.error}`);
  printLine(`soak on ${broker}: ${result.ok ? 'green' : 'RED'}, seed ${result.seed}`);
  ok &&= result.ok;
}
process.exit(ok ? 0 : 1);
