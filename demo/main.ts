/**
 * `npm run demo [-- --broker URL --results URL --root FOLDER --json]`: Lovage's main job on real input. Sends one task
 * for every package in `node_modules` to two worker processes, kills one of them with -9 half way, shows what was found,
 * and checks it against a direct computation and a ledger. Ends with `sent N, run N, run twice because of the kill N, lost: 0`.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { formatTable, printJson, printLine, printNote, startProgress } from '../src/cli/output.js';
import { sleep } from '../src/core/clock.js';
import { analysePackage, findPackages, type PackageReport } from './analyse.js';
import { judge, readLedger, unfinishedOf } from './ledger.js';
import { differences, type Summary, summarise } from './summary.js';
import { type DemoWorker, startWorker } from './workers.js';

const { values: options } = parseArgs({
  options: {
    broker: { type: 'string' },
    results: { type: 'string' },
    root: { type: 'string', default: fileURLToPath(new URL('..', import.meta.url)) },
    json: { type: 'boolean', default: false },
  },
});
const root = resolve(options.root);
const folder = mkdtempSync(join(tmpdir(), 'lovage-demo-'));
/** For each result; a whole run takes some 10 s. */
const RESULT_TIMEOUT = '60s';
const ledgerFile = join(folder, 'ledger');
const broker = options.broker ?? `file:${join(folder, 'queue.db')}`;
const workers: DemoWorker[] = [];

function cleanUp(): void {
  for (const worker of workers) worker.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    cleanUp();
    process.exit(130);
  });
}

const megabytes = (bytes: number): string => (bytes / 1_048_576).toFixed(1);

function show(summary: Summary): void {
  printLine(`\n${summary.packages} packages, ${summary.files} files, ${megabytes(summary.bytes)} MiB\n`);
  printLine(formatTable(['LICENCE', 'PACKAGES'], summary.licences, [1]));
  printLine(
    `\n${formatTable(
      ['BIGGEST', 'MIB', 'FILES'],
      summary.biggest.map((row) => [row.package, megabytes(row.bytes), row.files]),
      [1, 2],
    )}`,
  );
  printLine(
    summary.suspicious.length === 0
      ? '\nnothing suspicious'
      : `\n${formatTable(
          ['WORTH A LOOK', 'WHY'],
          summary.suspicious.map((row) => [row.package, row.why.join('; ')]),
        )}`,
  );
}

/** Kills a worker with -9 while it is in the middle of something, if that can be had before three quarters are done. */
async function killOne(done: () => number, total: number): Promise<DemoWorker> {
  for (;;) {
    const ledger = readLedger(ledgerFile);
    const [busiest] = [...workers].sort((a, b) => unfinishedOf(ledger, b.pid) - unfinishedOf(ledger, a.pid));
    const victim = busiest as DemoWorker;
    if (unfinishedOf(ledger, victim.pid) > 0 || done() >= total * 0.75) {
      victim.kill('SIGKILL');
      await victim.ended;
      return victim;
    }
    await sleep(2);
  }
}

async function run(): Promise<boolean> {
  const startedMs = performance.now();
  writeFileSync(ledgerFile, '');
  const packages = await findPackages(root);
  if (packages.length === 0)
    throw new Error(`${root} has no packages in node_modules: run npm ci there, or give another folder with --root`);
  // The app reads its URLs from the environment; it is imported after they are set.
  process.env.LOVAGE_BROKER_URL = broker;
  if (options.results === undefined) delete process.env.LOVAGE_RESULT_URL;
  else process.env.LOVAGE_RESULT_URL = options.results;
  const { analyse, app } = await import('./tasks.js');
  const say = options.json ? (): void => {} : printNote;
  say(`${packages.length} packages to look at, through ${broker.replace(/\/\/[^@/]*@/, '//***@')}, with two worker processes`);

  workers.push(startWorker('demo1', broker, options.results), startWorker('demo2', broker, options.results));
  let victim: DemoWorker | null = null;
  const died = Promise.race(
    workers.map((worker) =>
      worker.ended.then((how) => {
        // The victim's end is meant; everybody else's is not.
        if (victim === null && how === 'SIGKILL') return new Promise<never>(() => {});
        throw new Error(`worker ${worker.name} ended by itself (${how}). Its last words:\n${worker.log()}`);
      }),
    ),
  );
  died.catch(() => {});

  const handles = await analyse.sendMany(packages.map((path) => ({ args: [root, path, ledgerFile] })));
  const progress = startProgress('looked at', packages.length, { silent: options.json });
  let done = 0;
  let killing: Promise<void> | null = null;
  const reports: Promise<PackageReport>[] = handles.map(async (handle) => {
    const report = await handle.result({ timeout: RESULT_TIMEOUT });
    done += 1;
    progress.update(done);
    if (killing === null && done >= packages.length / 2) {
      killing = killOne(() => done, packages.length).then((killed) => {
        victim = killed;
        progress.end();
        say(`after ${done} packages: killed worker ${killed.name} (process ${killed.pid}) with -9; the other takes over`);
      });
    }
    return report;
  });
  const found = await Promise.race([Promise.all(reports), died]);
  progress.end();
  await killing;
  await Promise.allSettled(handles.map((handle) => handle.forget()));
  await app.close();

  const survivors = workers.filter((worker) => worker !== victim);
  for (const worker of survivors) worker.kill('SIGTERM');
  const exits = await Promise.all(survivors.map((worker) => worker.ended));
  const seconds = (performance.now() - startedMs) / 1_000;

  const summary = summarise(found);
  if (!options.json) show(summary);
  say('\nchecking against a direct computation in this process …');
  const direct: PackageReport[] = [];
  for (const path of packages) direct.push(await analysePackage(root, path));
  const wrong = differences(summarise(direct), summary);
  const {
    sent,
    run: ran,
    twiceByKill,
    twiceUnexplained,
    lost,
  } = judge(
    handles.map(({ id }) => id),
    readLedger(ledgerFile),
    (victim as DemoWorker | null)?.pid ?? null,
  );
  const problems = [
    ...wrong.map((line) => `differs from the direct computation: ${line}`),
    ...(twiceUnexplained > 0 ? [`${twiceUnexplained} tasks ran twice and the kill does not explain it`] : []),
    ...exits.flatMap((how, index) =>
      how === 0 ? [] : [`worker ${survivors[index]?.name} ended with ${how} instead of 0:\n${survivors[index]?.log()}`],
    ),
  ];
  for (const problem of problems.slice(0, 20)) printNote(problem);
  const good = problems.length === 0 && lost === 0;
  if (options.json) {
    const { reports: _, ...shown } = summary;
    printJson({
      sent,
      run: ran,
      twiceBecauseOfTheKill: twiceByKill,
      lost,
      right: wrong.length === 0,
      seconds: Number(seconds.toFixed(1)),
      ...shown,
    });
  } else {
    printLine(`${wrong.length === 0 ? 'the same answer' : `${wrong.length} DIFFERENCES`}, in ${seconds.toFixed(1)} s`);
    printLine(`sent ${sent}, run ${ran}, run twice because of the kill ${twiceByKill}, lost: ${lost}`);
  }
  return good;
}

let exitCode = 1;
try {
  if (await run()) exitCode = 0;
} catch (error) {
  printNote(`the demo failed: ${error instanceof Error ? error.message : String(error)}`);
  for (const worker of workers) if (worker.log() !== '') printNote(`-- log of ${worker.name} --\n${worker.log()}`);
} finally {
  cleanUp();
}
// A failed run leaves its connections open; they must not keep the process.
process.exit(exitCode);
