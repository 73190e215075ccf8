// @ts-check
/**
 * `npm run check`: everything about the sources and the package that is not a test. `npm run check -- --fix` formats,
 * sorts imports and rewrites the API reports. Each check says only what is wrong.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CACHE, ROOT } from './environment.mjs';

const fix = process.argv.includes('--fix');
const folder = mkdtempSync(join(tmpdir(), 'lovage-check-'));
const modules = join(ROOT, 'node_modules');

/** @param {readonly string[]} command a script and its arguments, run by this Node */
const node = (...command) => spawnSync(process.execPath, command, { cwd: ROOT, encoding: 'utf8', maxBuffer: 64 * 2 ** 20 });

/** Packs what would be published and returns the path of the tarball. */
function tarball() {
  const packed = readdirSync(folder).find((name) => name.endsWith('.tgz'));
  if (packed) return join(folder, packed);
  const run = spawnSync('npm', ['pack', '--ignore-scripts', '--pack-destination', folder], { cwd: ROOT, encoding: 'utf8' });
  if (run.status !== 0) throw new Error(run.stderr);
  return join(folder, readdirSync(folder).find((name) => name.endsWith('.tgz')) ?? '');
}

/** @type {readonly (readonly [string, () => { status: number | null, stdout: string, stderr: string }])[]} */
const CHECKS = [
  ['build', () => node('scripts/build.mjs')],
  ['types of tests, scripts and examples', () => node(join(modules, 'typescript/bin/tsc'), '-p', 'tsconfig.json')],
  [
    'lint and format (biome)',
    () =>
      node(
        join(modules, '@biomejs/biome/bin/biome'),
        'check',
        '--error-on-warnings',
        '--max-diagnostics=50',
        ...(fix ? ['--write'] : []),
        '.',
      ),
  ],
  ['dead code and dependencies (knip)', () => node(join(modules, 'knip/bin/knip.js'))],
  ['public API (api-extractor)', () => node('scripts/api-report.mjs', ...(fix ? ['--fix'] : []))],
  ['package (publint)', () => node(join(modules, 'publint/src/cli.js'), tarball(), '--strict')],
  ['package types (attw)', () => node(join(modules, '@arethetypeswrong/cli/dist/index.js'), tarball(), '--profile', 'esm-only')],
];

const totals = { passed: 0, failed: 0, skipped: 0 };
try {
  for (const [title, check] of CHECKS) {
    const started = Date.now();
    const result = check();
    const seconds = ((Date.now() - started) / 1_000).toFixed(1);
    if (result.status === 0) {
      totals.passed += 1;
      console.log(`ok      ${title} (${seconds} s)`);
    } else {
      totals.failed += 1;
      console.log(`FAILED  ${title} (${seconds} s)\n${result.stdout}${result.stderr}`);
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
mkdirSync(CACHE, { recursive: true });
writeFileSync(join(CACHE, 'check-totals.json'), JSON.stringify(totals));
console.log(`\nchecks: ${totals.passed} passed, ${totals.failed} failed`);
process.exitCode = totals.failed > 0 ? 1 : 0;
