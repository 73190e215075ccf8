/** Chords in PostgreSQL: the seam's calls as statements. What counts them: `chord-functions.ts`; rules: `results/chords.ts`. */
import { textArray } from '../../clients/postgres-library.js';
import { type ChordStore, type ChordVerdict, OPEN, type OpenChord, type PartEnd, verdictOf } from '../chords.js';
import type { Ask } from './index.js';
import type { Statements } from './statements.js';
import { decode, encode, keyOf, nameOf, ttlOf } from './texts.js';

/** Chords or parts in one statement. */
const PAGE = 500;

interface ReportRow {
  /** Of which report, counted from 1. */
  readonly report: number;
  readonly task: string;
  readonly state: string;
  readonly result: string;
}

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
      ],
      'write',
    );
    const told = new Map<number, Pick<PartEnd, 'taskId' | 'state' | 'resultJson'>[]>();
    for (const { report: at, task, state, result } of rows) {
      const part = { taskId: decode(task), state: decode(state), resultJson: decode(result) };
      const all = told.get(at);
      if (all) all.push(part);
      else told.set(at, [part]);
    }
    return parts.map((_, at) => {
      const all = told.get(at + 1);
      return all ? verdictOf(all) : OPEN;
    });
  };

  return {
    open: (chords) => inPages(chords, open),
    report: async (parts) => {
      const verdicts: ChordVerdict[] = [];
      await inPages(parts, async (page) => void verdicts.push(...(await report(page))));
      return verdicts;
    },
    close: (groupIds) =>
      inPages(groupIds, async (page) => void (await ask(statements.closeChords, [textArray(page.map(keyOf))], 'write'))),
    hasten: (groupIds, nowMs) =>
      inPages(groupIds, async (page) => void (await ask(statements.hasten, [textArray(page.map(keyOf)), nowMs], 'write'))),
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
