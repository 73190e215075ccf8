// @ts-check
/**
 * The last line of `.ci/run`: the counts of the tests and of the checks added up. A part that left no counts, or whose
 * exit code disagrees with them, counts as one failure. Arguments: the two exit codes.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CACHE } from './environment.mjs';

const total = { passed: 0, failed: 0, skipped: 0 };
for (const [index, part] of ['test', 'check'].entries()) {
  const file = join(CACHE, `${part}-totals.json`);
  const exitCode = process.argv[index + 2];
  const counts = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : { passed: 0, failed: 0, skipped: 0 };
  if (exitCode !== '0' && counts.failed === 0) counts.failed = 1;
  for (const name of /** @type {const} */ (['passed', 'failed', 'skipped'])) total[name] += counts[name];
}
console.log(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;
