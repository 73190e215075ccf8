/** Chords in PostgreSQL: the seam's calls as statements. What counts them: `chord-functions.ts`; rules: `results/chords.ts`. */
import { textArray } from '../../clients/postgres-library.js';
import { type ChordStore, type ChordVerdict, type KeptEnd, OPEN, type OpenChord, type PartEnd, verdictOf } from '../chords.js';
import type { Ask } from './index.js';
import type { Statements } from './statements.js';
import { decode, encode, keyOf, nameOf, ttlOf } from './texts.js';

/** Chords or parts in one statement. */
const PAGE = 500;

interface ReportRow {
  /** Of which report, counted from 1. */
  readonly report: number;
  /** It is one of all parts, and not the one by which the chord failed. */
  readonly whole: boolean;
  readonly task: string;
  readonly state: string;
  readonly result: string;
}

/** Without a part: none has reported. */
type StateRow = { readonly size: number } & (
  | (Pick<ReportRow, 'task' | 'state' | 'result'> & { readonly place: number | null })
  | { readonly task: null }
);

const endOf = ({ task, state, result }: Pick<ReportRow, 'task' | 'state' | 'result'>): KeptEnd => ({
  ...{ taskId: decode(task), state: decode(state), resultJson: decode(result) },
});

export function postgresChords(ask: Ask, statements: Statements): ChordStore {
  /** Keys of texts, and the texts where the keys do not tell them. */
  const keyed = (texts: readonly string[]): [Buffer, Buffer] => {
    const keys = texts.map(keyOf);
    return [textArray(keys), textArray(texts.map((text, at) => nameOf(text, keys[at] as string)))];
  };

  const open = async (chords: readonly OpenChord[]): Promise<void> => {
    await ask(
      statements.openChords,
      [
        ...keyed(chords.map(({ groupId }) => groupId)),
        chords.map(({ size }) => size),
        textArray(chords.map(({ body }) => encode(body))),
        chords.map(({ deadlineMs }) => deadlineMs),
        chords.map(({ ttlMs }) => ttlOf(ttlMs)),
      ],
      'write',
    );
  };

  const report = async (parts: readonly PartEnd[]): Promise<ChordVerdict[]> => {
    const rows = await ask<ReportRow>(
      statements.reportParts,
      [
        ...keyed(parts.map(({ groupId }) => groupId)),
        ...keyed(parts.map(({ taskId }) => taskId)),
        parts.map(({ index }) => index),
        textArray(parts.map(({ state }) => encode(state))),
        textArray(parts.map(({ resultJson }) => encode(resultJson))),
        parts.map(({ ttlMs }) => ttlOf(ttlMs)),
        parts.map(({ settlesAll }) => settlesAll === true),
      ],
      'write',
    );
    const told = new Map<number, ReportRow[]>();
    for (const row of rows) {
      const all = told.get(row.report);
      if (all) all.push(row);
      else told.set(row.report, [row]);
    }
    return parts.map((_, at) => {
      const [first, ...others] = told.get(at + 1) ?? [];
      if (first === undefined) return OPEN;
      return first.whole ? verdictOf([first, ...others].map(endOf)) : { kind: 'failed', part: endOf(first) };
    });
  };

  return {
    open: (chords) => inPages(chords, open),
    report: async (parts) => {
      const verdicts: ChordVerdict[] = [];
      await inPages(parts, async (page) => void verdicts.push(...(await report(page))));
      return verdicts;
    },
    add: async (groupId, taskId, ttlMs) => {
      const key = keyOf(groupId);
      await ask(statements.addChordPart, [key, nameOf(groupId, key), keyOf(taskId), ttlOf(ttlMs)], 'write');
    },
    close: (groupIds) =>
      inPages(groupIds, async (page) => void (await ask(statements.closeChords, [textArray(page.map(keyOf))], 'write'))),
    hasten: (groupIds, nowMs) =>
      inPages(groupIds, async (page) => void (await ask(statements.hasten, [textArray(page.map(keyOf)), nowMs], 'write'))),
    state: async (groupId) => {
      const rows = await ask<StateRow>(statements.chordState, [keyOf(groupId)], 'read');
      const [first] = rows;
      if (first === undefined) return null;
      const ends = rows.flatMap((row) => (row.task === null ? [] : [{ ...endOf(row), index: row.place }]));
      return { size: first.size, ends };
    },
    overdue: async (nowMs, most) => {
      const rows = await ask<{ readonly id: string; readonly deadline: number; readonly body: string }>(
        statements.overdue,
        [most + 1],
        'read',
      );
      const due = rows.slice(0, most).filter(({ deadline }) => deadline <= nowMs);
      return {
        chords: due.map(({ id, body }) => ({ groupId: decode(id), body: decode(body) })),
        nextMs: rows[due.length]?.deadline ?? null,
      };
    },
  };
}

async function inPages<Item>(items: readonly Item[], step: (page: readonly Item[]) => Promise<void>): Promise<void> {
  for (let from = 0; from < items.length; from += PAGE) await step(items.slice(from, from + PAGE));
}
