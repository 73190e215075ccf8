/** How the ledger is judged: what is lost, what ran twice, and what explains it. */
import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { judge, type Verdict } from '../../drills/harness/judge.js';
import { Ledger } from '../../drills/harness/ledger.js';

let folder: string;
let ledger: Ledger;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lovage-judge-'));
  ledger = new Ledger(join(folder, 'ledger'));
});
afterEach(() => {
  ledger.close();
  rmSync(folder, { recursive: true });
});

/** Lines as tasks write them, from other processes. */
function written(...lines: string[]): Verdict {
  appendFileSync(ledger.file, lines.map((line) => `${line}\n`).join(''));
  return judge(ledger.read());
}

const twice = ['sent a 1', 'start a 1 w1.1 11000', 'end a 1 w1.1 12000', 'start a 1 w2.1 13000', 'end a 1 w2.1 14000'];

test('what was sent and ran is neither lost nor repeated', () => {
  ledger.sent(['a', 'b']);
  expect(written('start a 1 w1.1 10', 'end a 1 w1.1 20', 'start b 1 w1.1 10', 'end b 1 w1.1 20')).toMatchObject({
    ...{ sent: 2, executed: 2, lost: [], strangers: [], duplicates: 0, unexplained: [], interrupted: 0, slowestRerunMs: null },
  });
});

test('what began and never ended is lost, and so is what only failed', () => {
  expect(written('sent a 1', 'sent b 1', 'start a 1 w1.1 10', 'start b 1 w1.1 10', 'fail b 1 w1.1 20').lost).toEqual(['a', 'b']);
});

test('what was parked, revoked or has expired is not lost, and counts once', () => {
  for (const id of ['a', 'b', 'c', 'd']) written(`sent ${id} 1`);
  written('start a 1 w1.1 10', 'end a 1 w1.1 20');
  const accounted = { parked: new Set(['a', 'b']), expired: new Set(['c']), revoked: new Set(['d']) };
  expect(judge(ledger.read(), accounted)).toMatchObject({ executed: 1, parked: 1, expired: 1, revoked: 1, lost: [] });
});

test('a task that nobody sent is a stranger', () => {
  expect(written('start x 1 w1.1 10', 'end x 1 w1.1 20').strangers).toEqual(['x']);
});

test('another try is no repetition', () => {
  expect(written('sent a 1', 'start a 1 w1.1 10', 'fail a 1 w1.1 20', 'start a 2 w1.1 30', 'end a 2 w1.1 40')).toMatchObject({
    ...{ duplicates: 0, executed: 1, lost: [] },
  });
});

test('a repetition without a fault is not explained', () => {
  expect(written(...twice)).toMatchObject({ duplicates: 1, unexplained: [{ worker: 'w2.1' }] });
});

test.each([
  ['a kill during the run', 'fault kill w1.1 11500 11500'],
  ['a kill before its result can have been settled', 'fault kill w1.1 12900 12900'],
  ['a stop that was over before', 'fault stop w1.1 11100 11200'],
  ['a stop that had just ended when it began', 'fault stop w1.1 5000 10990'],
  ['an outage of the broker', 'fault broker-kill broker 11900 12500'],
  ['a network of that start', 'fault reset network:w1.1 11500 11500'],
  ['a network of that worker, whatever its start', 'fault reset network:w1 11500 11500'],
  ['a send that was repeated', 'fault resend task:a 1 5'],
  ['a network of the sender, while it was sent', 'fault cutAfter sender 1 2'],
  ['an outage of the broker, while it was sent', 'fault broker-kill broker 1 1'],
  ['the second worker, stopped before the first began and now late', 'fault stop w2.1 10900 12950'],
])('a repetition is explained by %s', (_, fault) => {
  expect(written(...twice, fault)).toMatchObject({ duplicates: 1, unexplained: [] });
});

test.each([
  ['another worker', 'fault kill w3.1 11500 11500'],
  ['another start of that worker', 'fault kill w1.2 11500 11500'],
  ['a network of another worker', 'fault reset network:w11 11500 11500'],
  ['a fault that was over long before the run', 'fault stop w1.1 5000 8900'],
  ['a kill after the repetition', 'fault kill w1.1 13500 13500'],
  ['the second worker, stopped only after the first had begun', 'fault stop w2.1 11500 12950'],
  ['a send of another task that was repeated', 'fault resend task:b 1 5'],
  ['a network of the sender after it was sent', 'fault cutAfter sender 2 3'],
])('a repetition is not explained by %s', (_, fault) => {
  expect(written(...twice, fault)).toMatchObject({ duplicates: 1, unexplained: [{ id: 'a' }] });
});

test('a kill long after the end explains nothing, unless a stopped writer kept the result waiting', () => {
  written('sent a 1', 'start a 1 w1.1 1000', 'end a 1 w1.1 2000', 'start a 1 w2.1 9000', 'end a 1 w2.1 9001');
  expect(written('fault stop w3.1 1900 8000', 'fault kill w1.1 7000 7000').unexplained).toHaveLength(1);
  expect(judge(ledger.read(), {}, { oneWriter: true }).unexplained).toHaveLength(0);
});

test('a kill some seconds after the end explains it only where a settlement may take so long', () => {
  written('sent a 1', 'start a 1 w1.1 1000', 'end a 1 w1.1 2000', 'start a 1 w2.1 9000', 'end a 1 w2.1 9001');
  expect(written('fault kill w1.1 4500 4500').unexplained).toHaveLength(1);
  expect(judge(ledger.read(), {}, { settleMs: 5_000 }).unexplained).toHaveLength(0);
});

test('a try that was repeated for a reason may be followed by two others', () => {
  const verdict = written(
    ...['sent a 1', 'start a 1 w1.1 10', 'fail a 1 w1.1 20', 'fault kill w1.1 21 21', 'start a 1 w2.1 30', 'fail a 1 w2.1 40'],
    ...['start a 2 w2.1 50', 'end a 2 w2.1 60', 'start a 2 w3.1 70', 'end a 2 w3.1 80'],
  );
  expect(verdict).toMatchObject({ duplicates: 2, unexplained: [] });
});

test('the time to the new start counts from the kill, or from the end of an outage that came between', () => {
  const lines = ['sent a 1', 'start a 1 w1.1 1000', 'fault kill w1.1 2000 2010', 'start a 1 w2.1 9010', 'end a 1 w2.1 9020'];
  expect(written(...lines)).toMatchObject({ interrupted: 1, slowestRerunMs: 7_000 });
  expect(written('fault broker-kill broker 3000 8000').slowestRerunMs).toBe(1_010);
});

test('a worker that was given the task and was killed too begins the time anew; one that was not does not', () => {
  const lines = [
    'sent a 1',
    'start a 1 w1.1 1000',
    'fault kill w1.1 2000 2010',
    'fault kill w3.1 7000 7010',
    'start a 1 w2.1 9010',
  ];
  expect(written(...lines).slowestRerunMs).toBe(7_000);
  const given = (worker: string, atMs: number) => judge(ledger.read(), {}, { receipts: new Map([['a', [{ worker, atMs }]]]) });
  expect(given('w3.1', 6_000).slowestRerunMs).toBe(2_000);
  expect(given('w3.1', 1_500).slowestRerunMs).toBe(7_000);
  expect(given('w2.1', 6_000).slowestRerunMs).toBe(7_000);
});

test('a half-written last line waits for its end', () => {
  appendFileSync(ledger.file, 'sent a 1\nsta');
  expect(ledger.read().runs.size).toBe(0);
  appendFileSync(ledger.file, 'rt a 1 w1.1 10\n');
  expect(ledger.read().runs.get('a')).toMatchObject([{ worker: 'w1.1', endMs: null }]);
});

test('a line that nobody writes is an error, not an oversight', () => {
  appendFileSync(ledger.file, 'ended a\n');
  expect(() => ledger.read()).toThrow('a line that nobody writes');
});
