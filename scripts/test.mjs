// @ts-check
/**
 * `npm test`: every suite on this Node, then the smoke and conformance suites on the other Node lines.
 *
 *   npm test                      what this machine can run; what it cannot is named at the end
 *   LOVAGE_SETUP=1 npm test       installs what is missing first (also with CI=true)
 *   npm test -- unit conformance  only these suites, on this Node
 *
 * With CI=true a suite that did not run is a failure. The last line counts the whole run.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { CACHE, missingNeeds, nodeBinary, OTHER_NODES, ROOT, SETUP_COMMAND } from './environment.mjs';
import { endLeftOvers } from './left-overs.mjs';
import { needsOf, SUITES, testFiles } from './suites.mjs';

/** @typedef {import('./suites.mjs').Suite} Suite */
/** @typedef {{ title: string, passed: number, failed: number, skipped: number, seconds: number }} Row */

const inCi = process.env['CI'] === 'true';
const mayInstall = inCi || process.env['LOVAGE_SETUP'] === '1';

/** @type {Row[]} */
const rows = [];
/** What did not run, with its reason. @type {string[]} */
const notRun = [];
/** @type {string[]} */
const failures = [];
/** @type {string[]} */
const skips = [];

/** Asks the suite that runs to end. */
let endRunning = () => {};
/** The signal that ends the whole run, not only the suite; what that has started is swept first. @type {'SIGINT' | 'SIGTERM' | null} */
let endedBy = null;
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) {
  process.once(signal, () => {
    endedBy = signal;
    endRunning();
  });
}

/** @param {string} title */
const heading = (title) => console.log(`\n── ${title} ${'─'.repeat(Math.max(4, 90 - title.length))}`);

/** @param {string} script @param {readonly string[]} [args] */
function runScript(script, args = []) {
  return (
    spawnSync(process.execPath, [join(ROOT, 'scripts', script), ...args], { stdio: ['ignore', 'inherit', 'inherit'], cwd: ROOT })
      .status === 0
  );
}

/**
 * Runs one suite in a vitest of its own, with a temporary folder of its own that is swept afterwards.
 * @param {Suite} suite
 * @param {readonly string[]} excluded test files whose needs are missing
 * @param {{ title: string, node: string }} where
 */
async function runSuite(suite, excluded, where) {
  heading(where.title);
  const started = Date.now();
  const folder = mkdtempSync(join(tmpdir(), 'lovage-test-'));
  const reportFile = join(folder, 'report.json');
  const child = spawn(
    where.node,
    [
      join(ROOT, 'node_modules/vitest/vitest.mjs'),
      'run',
      '--project',
      suite.name,
      '--reporter=default',
      '--reporter=./scripts/vitest-report.mjs',
      ...(suite.alone ? ['--no-file-parallelism'] : []),
    ],
    {
      cwd: ROOT,
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...process.env, TMPDIR: folder, LOVAGE_TEST_REPORT: reportFile, LOVAGE_TEST_EXCLUDE: excluded.join(',') },
    },
  );
  endRunning = () => child.kill('SIGTERM');
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill('SIGKILL');
  }, suite.limitMinutes * 60_000);
  const code = await new Promise((resolve) => child.once('close', resolve).once('error', resolve));
  clearTimeout(timer);
  endRunning = () => {};

  /** @type {import('./vitest-report.mjs').Report} */
  const report = existsSync(reportFile)
    ? JSON.parse(readFileSync(reportFile, 'utf8'))
    : { passed: 0, failed: 0, skipped: 0, failures: [], skips: [], idle: [] };
  if (late) report.failures.push(`ended after its limit of ${suite.limitMinutes} minutes`);
  // A killed run is killed with its children's parents: what they started is swept here, and only then is it a leak.
  const remaining = await endLeftOvers(folder);
  if (!late)
    for (const { pid, command } of remaining) report.failures.push(`a process was left running: ${pid} ${command.slice(0, 160)}`);
  if (code !== 0 && report.failures.length === 0) report.failures.push(`vitest ended with ${code}`);
  rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  if (endedBy) {
    console.log(`\nended by ${endedBy}: the other suites did not run`);
    process.exit(128 + constants.signals[endedBy]);
  }

  failures.push(...report.failures.map((text) => `${where.title}: ${text}`));
  skips.push(...report.skips.map((text) => `${where.title}: ${text}`));
  for (const file of report.idle) notRun.push(`${where.title}: no test of ${file} ran`);
  rows.push({
    title: where.title,
    passed: report.passed,
    failed: report.failures.length,
    skipped: report.skipped,
    seconds: (Date.now() - started) / 1_000,
  });
}

function printSummary() {
  const total = rows.reduce(
    (sum, row) => ({ passed: sum.passed + row.passed, failed: sum.failed + row.failed, skipped: sum.skipped + row.skipped }),
    {
      passed: 0,
      failed: 0,
      skipped: 0,
    },
  );
  heading('summary');
  const width = Math.max(...rows.map((row) => row.title.length), 5);
  console.log(`${'suite'.padEnd(width)}   passed  failed  skipped     time`);
  for (const row of rows) {
    const cells = [row.passed, row.failed, row.skipped].map((count) => String(count).padStart(7));
    console.log(`${row.title.padEnd(width)}  ${cells.join(' ')}  ${`${row.seconds.toFixed(1)} s`.padStart(9)}`);
  }
  if (skips.length > 0) console.log(`\nSkipped tests:\n  ${skips.join('\n  ')}`);
  if (failures.length > 0) console.log(`\nFailed:\n  ${failures.join('\n  ')}`);
  if (notRun.length > 0) {
    console.log(`\nDid not run${inCi ? ' (a failure, because CI=true)' : ''}:\n  ${notRun.join('\n  ')}`);
    if (!mayInstall) console.log(`\nThis installs what is missing and runs everything: ${SETUP_COMMAND}`);
    if (inCi) total.failed += notRun.length;
  }
  mkdirSync(CACHE, { recursive: true });
  writeFileSync(join(CACHE, 'test-totals.json'), JSON.stringify(total));
  console.log(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
  process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;
}

const wanted = process.argv.slice(2).filter((word) => !word.startsWith('-'));
const unknown = wanted.filter((name) => !SUITES.some((suite) => suite.name === name));
if (unknown.length > 0) {
  console.error(`There is no suite '${unknown.join("', '")}'. Suites: ${SUITES.map((suite) => suite.name).join(', ')}`);
  process.exit(2);
}
const suites = SUITES.filter((suite) => wanted.length === 0 || wanted.includes(suite.name));
rmSync(join(CACHE, 'test-totals.json'), { force: true });

if (mayInstall) {
  heading('set-up');
  // What could not be installed is found missing below and named there.
  runScript('setup-servers.mjs');
  if (wanted.length === 0) runScript('setup-nodes.mjs');
}
const missing = missingNeeds();

heading('build');
if (!runScript('build.mjs')) {
  rows.push({ title: 'build', passed: 0, failed: 1, skipped: 0, seconds: 0 });
  failures.push('build: the sources do not compile');
} else {
  const files = testFiles();
  /** @type {Map<string, string[]>} */
  const excludedBySuite = new Map();
  for (const suite of suites) {
    const all = files.get(suite.name) ?? [];
    const excluded = all.filter((file) => needsOf(file).some((need) => missing.has(need)));
    excludedBySuite.set(suite.name, excluded);
    for (const file of excluded) {
      notRun.push(
        `${suite.name}: ${file} (${needsOf(file)
          .flatMap((need) => missing.get(need) ?? [])
          .join('; ')})`,
      );
    }
    for (const need of suite.parts ?? []) {
      if (missing.has(need) && all.length > excluded.length)
        notRun.push(`${suite.name}: its part with ${need} (${missing.get(need)})`);
    }
    if (all.length === 0 && suite.required) notRun.push(`${suite.name}: there is no test file`);
    if (all.length > excluded.length) await runSuite(suite, excluded, { title: suite.name, node: process.execPath });
  }
  for (const line of wanted.length === 0 ? OTHER_NODES : []) {
    const node = nodeBinary(line);
    if (!node) {
      notRun.push(`Node ${line}: not installed (npm run setup:nodes)`);
      continue;
    }
    for (const suite of suites.filter((one) => one.otherNodes)) {
      const excluded = excludedBySuite.get(suite.name) ?? [];
      if ((files.get(suite.name) ?? []).length > excluded.length)
        await runSuite(suite, excluded, { title: `${suite.name} on Node ${line}`, node });
    }
  }
}
printSummary();
