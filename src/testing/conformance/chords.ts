/** Result-store suite: counting the parts of chords (`results/chords.ts`). */
import { randomUUID } from 'node:crypto';
import { describe, expect } from 'vitest';
import type { ChordStore, OpenChord, PartEnd } from '../../results/chords.js';
import type { ResultStore } from '../../results/result-store.js';
import { untilWall } from './broker-kit.js';
import type { ResultSuite } from './result-fixture.js';

const HOUR_MS = 3_600_000;

const chordsOf = ({ chords }: ResultStore): ChordStore => {
  if (!chords) throw new Error('the store says that it counts chords, and has no counter');
  return chords;
};

const opened = (groupId: string, size: number, more: Partial<OpenChord> = {}): OpenChord => ({
  ...{ groupId, size, body: `{"task":"body of ${groupId}"}`, deadlineMs: Date.now() + HOUR_MS, ttlMs: HOUR_MS },
  ...more,
});

const end = (groupId: string, index: number | null, more: Partial<PartEnd> = {}): PartEnd => ({
  ...{ groupId, index, taskId: `${groupId}:${index}`, state: 'SUCCESS', resultJson: String(index), ttlMs: HOUR_MS },
  ...more,
});

const ERROR = '{"exc_type": "ValueError", "exc_message": ["no"], "exc_module": "builtins"}';

export function chordsSuite({ can }: ResultSuite): void {
  describe('chords', () => {
    can(
      'chords',
      'are complete with their last part, whoever reports it, with the results in order',
      async ({ store, another }) => {
        const [chords, others] = [chordsOf(store), chordsOf(await another())];
        const group = randomUUID();
        await chords.open([opened(group, 3)]);
        expect(await chords.report([end(group, 2), end(group, 0, { resultJson: '{"é": [1, "x\\"]"]}' })])).toEqual([
          { kind: 'open' },
          { kind: 'open' },
        ]);
        expect(await others.report([end(group, 1)])).toEqual([{ kind: 'complete', results: ['{"é": [1, "x\\"]"]}', '1', '2'] }]);
      },
    );

    can('chords', 'count a part once, with its first result, however often it reports', async ({ store }) => {
      const chords = chordsOf(store);
      const group = randomUUID();
      await chords.open([opened(group, 2)]);
      for (const resultJson of ['"first"', '"second"'])
        expect(await chords.report([end(group, 0, { resultJson })])).toEqual([{ kind: 'open' }]);
      const complete = { kind: 'complete', results: ['"first"', '1'] };
      expect(await chords.report([end(group, 1)])).toEqual([complete]);
      // whoever got the verdict may have died
      expect(await chords.report([end(group, 1, { resultJson: '"again"' })])).toEqual([complete]);
    });

    can('chords', 'fail by the first part that does, which is told however often it reports, and no other', async ({ store }) => {
      const chords = chordsOf(store);
      const group = randomUUID();
      await chords.open([opened(group, 3)]);
      await chords.report([end(group, 0)]);
      const part = { state: 'FAILURE', resultJson: ERROR };
      const failed = { kind: 'failed', part: { ...part, taskId: `${group}:2` } };
      expect(await chords.report([end(group, 2, part)])).toMatchObject([failed]);
      expect(await chords.report([end(group, 1, part), end(group, 0)])).toEqual([{ kind: 'open' }, { kind: 'open' }]);
      expect(await chords.report([end(group, 2, part)])).toMatchObject([failed]);
    });

    can('chords', 'fail with their last part if an earlier one failed before they were opened', async ({ store }) => {
      const chords = chordsOf(store);
      const group = randomUUID();
      const part = { state: 'FAILURE', resultJson: ERROR };
      expect(await chords.report([end(group, 1, part)])).toEqual([{ kind: 'open' }]);
      await chords.open([opened(group, 2)]);
      expect(await chords.report([end(group, 0)])).toMatchObject([{ kind: 'failed', part: { taskId: `${group}:1` } }]);
    });

    can('chords', 'that settle all go on when parts fail, and tell how all ended with the last', async ({ store }) => {
      const chords = chordsOf(store);
      const group = randomUUID();
      await chords.open([opened(group, 3)]);
      const failed = { state: 'FAILURE', resultJson: ERROR, settlesAll: true };
      expect(await chords.report([end(group, 2, failed)])).toEqual([{ kind: 'open' }]);
      expect(await chords.report([end(group, 0)])).toEqual([{ kind: 'open' }]);
      const ends = [0, 2].map((index) => ({ taskId: `${group}:${index}`, index, state: index === 0 ? 'SUCCESS' : 'FAILURE' }));
      if (chords.state) expect(await chords.state(group)).toMatchObject({ size: 3, ends });
      const [verdict] = await chords.report([end(group, 1)]);
      expect(verdict).toMatchObject({
        ...{ kind: 'failed', part: { taskId: `${group}:2` } },
        all: [0, 1, 2].map((index) => ({ taskId: `${group}:${index}` })),
      });
      expect(await chords.report([end(group, 1)])).toMatchObject([{ kind: 'failed' }]);
      await chords.close([group]);
      if (chords.state) expect(await chords.state(group)).toBeNull();
    });

    can('chords', 'take parts that come later, each once, and wait for them', async ({ store, another }) => {
      const [chords, others] = [chordsOf(store), chordsOf(await another())];
      if (!chords.add || !others.add) return expect(chords.add).toBeUndefined();
      const group = randomUUID();
      await chords.open([opened(group, 1)]);
      await chords.add(group, 'late', HOUR_MS);
      await others.add(group, 'late', HOUR_MS);
      expect(await chords.report([end(group, 0)])).toEqual([{ kind: 'open' }]);
      const late = end(group, null, { taskId: 'late', resultJson: '"late"' });
      expect(await others.report([late])).toEqual([{ kind: 'complete', results: ['0', '"late"'] }]);
      await chords.close([group]);
      await chords.add(group, 'too late', HOUR_MS);
      expect(await chords.report([{ ...late, taskId: 'too late' }])).toEqual([{ kind: 'open' }]);
    });

    can('chords', 'that are closed stay closed: later reports and openings change nothing', async ({ store }) => {
      const chords = chordsOf(store);
      const group = randomUUID();
      await chords.open([opened(group, 1)]);
      await chords.close([group]);
      await chords.open([opened(group, 1)]);
      expect(await chords.report([end(group, 0), end(group, 0, { state: 'FAILURE', resultJson: ERROR })])).toEqual([
        { kind: 'open' },
        { kind: 'open' },
      ]);
    });

    can('chords', 'may have parts that report before they are opened, and parts without a place', async ({ store }) => {
      const chords = chordsOf(store);
      const group = randomUUID();
      const later = end(group, null, { taskId: 'added', resultJson: '"last"' });
      expect(await chords.report([later, end(group, 0)])).toEqual([{ kind: 'open' }, { kind: 'open' }]);
      await chords.open([opened(group, 3)]);
      expect(await chords.report([end(group, 1)])).toEqual([{ kind: 'complete', results: ['0', '1', '"last"'] }]);
    });

    can('chords', 'whose deadline has passed are told until they are closed, the oldest first', async ({ store, another }) => {
      const [chords, others] = [chordsOf(store), chordsOf(await another())];
      const [late, later, timely] = [randomUUID(), randomUUID(), randomUUID()] as const;
      const nowMs = Date.now();
      await chords.open([
        opened(timely, 1, { deadlineMs: nowMs + 60_000 }),
        opened(later, 1, { deadlineMs: nowMs - 1_000 }),
        opened(late, 1, { deadlineMs: nowMs - 5_000 }),
      ]);
      const row = (groupId: string) => ({ groupId, body: `{"task":"body of ${groupId}"}` });
      expect(await others.overdue(nowMs, 10)).toEqual({ chords: [row(late), row(later)], nextMs: nowMs + 60_000 });
      expect((await others.overdue(nowMs, 1)).chords).toEqual([row(late)]);
      await others.close([late, later]);
      expect((await chords.overdue(nowMs, 10)).chords).toEqual([]);
      await chords.close([timely]);
    });

    can('chords', 'that cannot be complete any more can be made overdue; others and closed ones cannot', async ({ store }) => {
      const chords = chordsOf(store);
      const [open, closed, unknown] = [randomUUID(), randomUUID(), randomUUID()] as const;
      const nowMs = Date.now();
      await chords.open([opened(open, 2), opened(closed, 2)]);
      await chords.close([closed]);
      expect((await chords.overdue(nowMs, 10)).chords).toEqual([]);
      await chords.hasten([open, closed, unknown], nowMs);
      // whoever opens them again does not know
      await chords.open([opened(open, 2), opened(closed, 2)]);
      expect((await chords.overdue(nowMs, 10)).chords.map(({ groupId }) => groupId)).toEqual([open]);
      await chords.close([open]);
    });

    can('chords', 'are forgotten with their time', async ({ store }) => {
      const chords = chordsOf(store);
      const group = randomUUID();
      await chords.open([opened(group, 2, { ttlMs: 400 })]);
      await chords.report([end(group, 0, { ttlMs: 400 })]);
      await untilWall(Date.now() + 500);
      expect(await chords.report([end(group, 1)])).toEqual([{ kind: 'open' }]);
      await chords.open([opened(group, 1)]);
      expect(await chords.report([end(group, 1)])).toMatchObject([{ kind: 'complete' }]);
    });

    can('chords', 'of 1,000 parts that report at once from everywhere are complete once', async ({ store, another }) => {
      const stores = [store, await another(), await another()].map(chordsOf);
      const group = randomUUID();
      const size = 1_000;
      await (stores[0] as ChordStore).open([opened(group, size)]);
      const verdicts = await Promise.all(
        Array.from({ length: size }, (_, at) => (stores[at % stores.length] as ChordStore).report([end(group, at)])),
      );
      const complete = verdicts.flat().filter(({ kind }) => kind === 'complete');
      expect(complete).toEqual([{ kind: 'complete', results: Array.from({ length: size }, (_, at) => String(at)) }]);
    });
  });
}
