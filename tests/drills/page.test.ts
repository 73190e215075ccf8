/** The page of the drills says what the kept results say. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { DrillResult } from '../../drills/harness/runner.js';
import { page } from '../../drills/page.js';
import { keptChaos, keptResults, PAGE_FILE } from '../../drills/results.js';
import { DRILLS } from '../../drills/table.js';

test('docs/drills.md is what the kept results make (npm run drills -- --full writes it)', () => {
  expect(readFileSync(PAGE_FILE, 'utf8')).toBe(page(keptResults(), keptChaos()));
});

test('every drill is in the table under its own name', async () => {
  for (const [name, load] of Object.entries(DRILLS)) expect((await load()).drill.name).toBe(name);
});

test('the page shows what did not hold', () => {
  const result: DrillResult = {
    ...{ drill: 'self-check', scenario: 'Nothing happens.', broker: 'redis', size: 'full', commit: 'c'.repeat(40), seed: 's' },
    ...{ startedAt: '2026-11-21T00:00:00.000Z', seconds: 1, machine: 'a machine', error: null, ok: false },
    claims: [{ sentence: 'tasks | lost', measured: 2, bound: '= 0', holds: false }],
    figures: [{ name: 'duration', value: 3, unit: 's' }],
  };
  const text = page([result], []);
  expect(text).toContain('| tasks \\| lost | 2 | = 0 | **no** |');
  expect(text).toContain('### On redis: RED');
  expect(text).toContain('Also measured: duration 3 s.');
  expect(text).toContain('seed `s`');
});

test('a seed of the chaos rig has a line, and a red one says what did not hold', () => {
  const seed: DrillResult = {
    ...{ drill: 'chaos', scenario: '', broker: 'file', size: 'quick', commit: 'c'.repeat(40), seed: 's-1' },
    ...{ startedAt: '2026-11-21T00:00:00.000Z', seconds: 1, machine: 'a machine', error: null, ok: false },
    claims: [{ sentence: 'chaos: tasks lost', measured: 2, bound: '= 0', holds: false }],
    figures: [
      { name: 'tasks', value: 100, unit: '' },
      { name: 'faults', value: '7 kill, 12 stop', unit: '' },
    ],
  };
  expect(page([], [seed])).toContain('| file | `s-1` | 100 | 19 | 2 |');
  expect(page([], [seed])).toContain('**red**: chaos: tasks lost: 2');
  expect(page([], [{ ...seed, ok: true }])).toContain('1 seeds green, 0 red.');
});
