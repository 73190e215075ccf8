/** Random lives of twenty schedulers in memory and on the embedded file; and that their judge finds what is wrong. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { slotTaskId } from '../../src/beat/schedules/index.js';
import { randomCase } from './random-cases.js';
import { type Decision, type Evidence, judge, type Policy } from './random-model.js';

randomCase('memory', async () => ({ url: 'memory:random', close: async () => {} }), false);

randomCase('file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-random-'));
  return { url: `file:${join(folder, 'queue.db')}`, close: async () => rmSync(folder, { recursive: true }) };
});

const id = (slotMs: number): string => slotTaskId('a', slotMs);
const decision = (more: Partial<Decision>): Decision => ({
  ...{
    entry: 'a',
    revision: 1,
    seq: 0,
    cursorMs: 2_500,
    missed: 0,
    sent: [id(1_000), id(2_000)],
    wish: null,
    epoch: 1,
    newest: 1,
  },
  ...more,
});
const evidence = (policy: Policy, ...decisions: Decision[]): Evidence => ({
  decisions,
  revisions: new Map([['a', new Map([[1, { everyMs: 1_000, policy, sinceMs: 0, paused: false }]])]]),
  queued: decisions.flatMap(({ sent }) => sent),
  wishes: decisions.flatMap(({ wish }) => wish ?? []),
});
const next = decision({ seq: 1, cursorMs: 3_100, sent: [id(3_000)] });
const wish = decision({ seq: 1, sent: ['wish'], wish: 'wish' });
/** At 12.5 s, everything before 6.5 s is too late. */
const late = { cursorMs: 12_500, sent: [7, 8, 9, 10, 11, 12].map((second) => id(second * 1_000)) };

test.each([
  ['each slot once, in two decisions', evidence('none', decision({}), next)],
  ['a wish between slots', evidence('none', decision({}), wish, { ...next, seq: 2 })],
  ['late slots left out and counted', evidence('last', decision({ ...late, missed: 6 }))],
])('the judge finds nothing wrong with %s', (_, given) => {
  expect(judge(given)).toEqual([]);
});

const honest = evidence('none', decision({}), next);
test.each([
  ['a slot that is missing', evidence('none', decision({ sent: [id(2_000)] })), 'sends'],
  ['a late slot that is not counted', evidence('last', decision(late)), 'counts as missed 0, not 6'],
  ['a late slot that catch-up wants', evidence('all', decision({ ...late, missed: 6 })), 'sends'],
  ['a slot that was decided twice', evidence('none', decision({}), { ...next, sent: [id(2_000), id(3_000)] }), 'sent twice'],
  ['a decision that was forgotten', evidence('none', decision({}), { ...next, seq: 2 }), 'the one before it is 0'],
  ['a decision that was made anew', evidence('none', decision({}), decision({})), 'the one before it is 0'],
  ['a decision by a lead that was over', evidence('none', decision({ newest: 2 })), 'by lead 1, and 2 had been taken'],
  ['a revision that nobody made', evidence('none', decision({ revision: 2 })), 'nobody made revision 2'],
  ['a wish that moves the cursor', evidence('none', decision({}), { ...wish, cursorMs: 9_000 }), 'its cursor is 9000'],
  ['a wish that nobody carried out', { ...honest, wishes: ['wish'] }, 'the wish wish was not carried out'],
  ['a message that is not there', { ...honest, queued: honest.queued.slice(1) }, 'is not in the queue'],
  ['a message that is there twice', { ...honest, queued: [...honest.queued, id(1_000)] }, 'is in the queue 2 times'],
  ['a message that nobody decided', { ...honest, queued: [...honest.queued, 'x'] }, 'nobody decided it'],
])('the judge finds %s', (_, given, words) => {
  expect(judge(given).join('\n')).toContain(words);
});
