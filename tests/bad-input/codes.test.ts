/** Every code with which something is parked is one that people find in the reference. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { CASES } from './cases.js';

test('each code in the table of bad input has its entry in the reference', () => {
  const page = readFileSync(fileURLToPath(new URL('../../docs/reference/errors.md', import.meta.url)), 'utf8');
  const fates = CASES.flatMap(({ fate, on }) => [fate, ...Object.values(on ?? {})]);
  const codes = new Set(fates.flatMap((fate) => (fate?.kind === 'parked' ? [fate.code] : [])));
  expect(codes.size).toBeGreaterThan(5);
  expect([...codes].filter((code) => !page.includes(`\n### ${code}\n`))).toEqual([]);
});
