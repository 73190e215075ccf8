/** What a leader on RabbitMQ notes, and what the next one makes of it. */
import { describe, expect, test } from 'vitest';
import { makeSignature } from '../../../wire/signature.js';
import type { EntryRecord } from '../../beat-store.js';
import { encodeDefinition } from '../../definition.js';
import { encodeState, NO_STATE } from '../../entry-state.js';
import type { ScheduleOptions } from '../../schedules/index.js';
import {
  adopt,
  afterDecision,
  type Cursor,
  decodeCursors,
  encodeCursors,
  GONE_MS,
  leadQueueOf,
  MOST_CODE_ENTRIES,
  MOST_GONE,
  newestOf,
} from './cursors.js';

const NOW = Date.UTC(2026, 5, 1, 12);
const cursor = (given: Partial<Cursor> = {}): Cursor => ({
  ...{ timing: 'x', sinceMs: NOW, seq: 3, cursorMs: NOW, sent: 2, missed: 1, goneMs: null },
  ...given,
});
const entry = (id: string, options: ScheduleOptions = { every: '1m' }): EntryRecord => ({
  ...{ id, revision: 1, paused: false, seq: 0, state: null },
  definition: encodeDefinition({ source: 'code', options, signature: makeSignature('t', {}), sinceMs: 1 }, id),
});
const sinceOf = (record: EntryRecord | undefined): number =>
  (JSON.parse(record?.definition ?? '') as { sinceMs: number }).sinceMs;

describe('a note', () => {
  test('says the same when it is read, whatever the ids are', () => {
    const entries = new Map([
      ['__proto__', cursor()],
      ['constructor', cursor({ cursorMs: null })],
      ['gone, "quoted"', cursor({ goneMs: NOW })],
    ]);
    expect(decodeCursors(encodeCursors({ epoch: 4, number: 7, entries }))).toEqual({ epoch: 4, number: 7, entries });
  });

  test.each([
    '',
    'null',
    '[]',
    '{"epoch":1,"number":1}',
    '{"epoch":-1,"number":1,"entries":[]}',
    '{"epoch":1,"number":1,"entries":[null]}',
    '{"epoch":1,"number":1,"entries":[["a","x",null,0,null,0,0]]}',
    '{"epoch":1,"number":1,"entries":[["a","x",0,0,"soon",0,0]]}',
  ])('that is none counts as none: %s', (text) => {
    expect(decodeCursors(text)).toBeNull();
  });

  test('of a later leader counts, and of one leader the last', () => {
    const note = (epoch: number, number: number) => ({ epoch, number, entries: new Map() });
    expect(newestOf([note(2, 9), note(3, 1), note(3, 2), note(1, 50)])).toMatchObject({ epoch: 3, number: 2 });
    expect(newestOf([])).toMatchObject({ epoch: 0, entries: new Map() });
  });

  test('of as many entries as there may be, with the longest ids, has less than 4 MB', () => {
    const most = { epoch: 1e9, number: 1e9, entries: new Map<string, Cursor>() };
    for (let n = 0; n < MOST_CODE_ENTRIES + MOST_GONE; n += 1)
      most.entries.set(`${'\u{1F33F}'.repeat(98)}${n}`, cursor({ goneMs: NOW, sent: 1e12, missed: 1e12, seq: 1e12 }));
    const text = encodeCursors(most);
    expect(Buffer.byteLength(text)).toBeLessThan(4_000_000);
    expect(decodeCursors(text)).toEqual(most);
  });

  test('keeps nothing of the runs of an entry', () => {
    const run = { slotMs: NOW, taskId: 't', sentMs: NOW, state: 'SENT', endedMs: null, error: null };
    const state = encodeState({ ...NO_STATE, cursorMs: NOW + 1, sent: 3, missed: 1, runs: [run] });
    expect(afterDecision(cursor(), state)).toEqual(cursor({ seq: 4, cursorMs: NOW + 1, sent: 3 }));
  });
});

describe('a new leader', () => {
  const first = adopt([entry('a')], new Map(), NOW);

  test('counts an entry from when somebody led with it first', () => {
    expect(sinceOf(first.records[0])).toBe(NOW);
    const later = adopt([entry('a')], first.cursors, NOW + 5_000);
    expect(sinceOf(later.records[0])).toBe(NOW);
    expect(later.records[0]).toMatchObject({ revision: 1, seq: 0 });
  });

  test('goes on where the one before stopped', () => {
    const before = new Map([
      ['a', afterDecision(first.cursors.get('a') as Cursor, encodeState({ ...NO_STATE, cursorMs: NOW + 1 }))],
    ]);
    expect(adopt([entry('a')], before, NOW + 9).records[0]).toMatchObject({
      seq: 1,
      state: expect.stringContaining(`${NOW + 1}`),
    });
  });

  test('counts an entry anew whose times have changed, and not one whose other options have', () => {
    const known = new Map([...first.cursors].map(([id, one]): [string, Cursor] => [id, { ...one, sent: 5 }]));
    const changed = adopt([entry('a', { every: '2m' })], known, NOW + 5_000);
    expect([sinceOf(changed.records[0]), changed.cursors.get('a')?.sent]).toEqual([NOW + 5_000, 5]);
    expect(sinceOf(adopt([entry('a', { every: '1m', priority: 3 })], known, NOW + 5_000).records[0])).toBe(NOW);
  });

  test('keeps for a day what an older or newer version of the code knows, and so much of it', () => {
    const without = adopt([], first.cursors, NOW + 1_000);
    expect(without.records).toEqual([]);
    const back = adopt([entry('a')], adopt([], without.cursors, NOW + GONE_MS).cursors, NOW + GONE_MS);
    expect([sinceOf(back.records[0]), back.cursors.get('a')?.goneMs]).toEqual([NOW, null]);
    expect(adopt([], without.cursors, NOW + 1_000 + GONE_MS).cursors.size).toBe(0);
    const many = new Map(
      Array.from({ length: MOST_GONE + 5 }, (_, n): [string, Cursor] => [`e${n}`, cursor({ goneMs: NOW + n })]),
    );
    const kept = adopt([], many, NOW + MOST_GONE + 5).cursors;
    expect([kept.size, kept.has('e0'), kept.has(`e${MOST_GONE + 4}`)]).toEqual([MOST_GONE, false, true]);
  });
});

test('the queue of an app has a name that fits, whatever that of the app is', () => {
  expect(leadQueueOf('shop')).toBe('lovage.beat.shop');
  const long = leadQueueOf('x'.repeat(300));
  expect(Buffer.byteLength(long)).toBeLessThanOrEqual(255);
  expect(long).not.toBe(leadQueueOf('y'.repeat(300)));
});
