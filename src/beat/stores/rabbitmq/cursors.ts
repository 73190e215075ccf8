/**
 * What the leader on RabbitMQ has decided, of all entries in one message: its text, and how it meets the entries that another leader's code
 * has. Pure. Who writes and reads the message is `lead-queue.ts`.
 */
import { createHash } from 'node:crypto';
import type { EntryRecord } from '../../beat-store.js';
import { timingDigest, withSince } from '../../definition.js';
import { decodeState, encodeState, NO_STATE } from '../../entry-state.js';

/** Every decision writes all of them. */
export const MOST_CODE_ENTRIES = 1_000;
/** Of entries that the leader's code has not: an older or newer version of it may lead again in a moment, and must not begin anew. */
export const MOST_GONE = 1_000;
export const GONE_MS = 86_400_000;

/** What was decided of one entry. Epoch milliseconds. */
export interface Cursor {
  /** Of what its slots are. */
  readonly timing: string;
  readonly sinceMs: number;
  readonly seq: number;
  readonly cursorMs: number | null;
  readonly sent: number;
  readonly missed: number;
  /** Since when the code of leaders has it not; `null`: it has it. */
  readonly goneMs: number | null;
}

export interface Cursors {
  /** Who wrote it; a later leader has a higher one. */
  readonly epoch: number;
  /** Rises with each message of an epoch. */
  readonly number: number;
  readonly entries: ReadonlyMap<string, Cursor>;
}

export const NO_CURSORS: Cursors = { epoch: 0, number: 0, entries: new Map() };

/** The queue of an app; a name that would not fit ends in a digest. */
export function leadQueueOf(app: string): string {
  const name = `lovage.beat.${app}`;
  return Buffer.byteLength(name) <= 255 ? name : `lovage.beat.${createHash('sha256').update(app).digest('hex')}`;
}

/** Rows and no object: ids are people's, `__proto__` among them. */
export function encodeCursors({ epoch, number, entries }: Cursors): string {
  const rows = [...entries].map(([id, { timing, sinceMs, seq, cursorMs, sent, missed, goneMs }]) => [
    ...[id, timing, sinceMs, seq, cursorMs, sent, missed],
    ...(goneMs === null ? [] : [goneMs]),
  ]);
  return JSON.stringify({ epoch, number, entries: rows });
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const isInstant = (value: unknown): value is number => Number.isFinite(value);

/** `null`: nothing that can be read. Whoever may publish to the queue may have written it. */
export function decodeCursors(text: string): Cursors | null {
  let given: { readonly epoch?: unknown; readonly number?: unknown; readonly entries?: unknown } | null;
  try {
    given = JSON.parse(text) as typeof given;
  } catch {
    return null;
  }
  if (!isCount(given?.epoch) || !isCount(given.number) || !Array.isArray(given.entries)) return null;
  const entries = new Map<string, Cursor>();
  for (const row of given.entries.slice(0, MOST_CODE_ENTRIES + MOST_GONE) as unknown[]) {
    if (!Array.isArray(row)) return null;
    const [id, timing, sinceMs, seq, cursorMs = null, sent, missed, goneMs = null] = row as readonly unknown[];
    if (typeof id !== 'string' || typeof timing !== 'string' || !isInstant(sinceMs)) return null;
    if (!isCount(seq) || !isCount(sent) || !isCount(missed)) return null;
    if ((cursorMs !== null && !isInstant(cursorMs)) || (goneMs !== null && !isInstant(goneMs))) return null;
    entries.set(id, { timing, sinceMs, seq, cursorMs, sent, missed, goneMs });
  }
  return { epoch: given.epoch, number: given.number, entries };
}

/** The one that was written last. */
export function newestOf(all: readonly Cursors[]): Cursors {
  return all.reduce((best, one) => ((one.epoch - best.epoch || one.number - best.number) > 0 ? one : best), NO_CURSORS);
}

/** After a decision. @param state as `entry-state.ts` writes it; of its runs nothing is kept */
export function afterDecision(before: Cursor, state: string): Cursor {
  const { cursorMs, sent, missed } = decodeState(state);
  return { ...before, seq: before.seq + 1, cursorMs, sent, missed };
}

/**
 * Entries of the code as a new leader finds them: with what was decided of them, and counted from now on if nobody has led with them or
 * their times have changed.
 */
export function adopt(
  code: readonly EntryRecord[],
  known: ReadonlyMap<string, Cursor>,
  nowMs: number,
): { readonly records: readonly EntryRecord[]; readonly cursors: ReadonlyMap<string, Cursor> } {
  const cursors = new Map<string, Cursor>();
  const records = code.map((record) => {
    const timing = timingDigest(record.definition);
    const before = known.get(record.id);
    const sinceMs = before?.timing === timing ? before.sinceMs : nowMs;
    const { seq, cursorMs, sent, missed } = before ?? { seq: 0, cursorMs: null, sent: 0, missed: 0 };
    cursors.set(record.id, { timing, sinceMs, seq, cursorMs, sent, missed, goneMs: null });
    const state = before === undefined ? null : encodeState({ ...NO_STATE, cursorMs, sent, missed });
    return { ...record, definition: withSince(record.definition, sinceMs), seq, state };
  });
  const gone = [...known]
    .filter(([id]) => !cursors.has(id))
    .map(([id, cursor]): [string, Cursor] => [id, { ...cursor, goneMs: cursor.goneMs ?? nowMs }])
    .filter(([, { goneMs }]) => nowMs - (goneMs as number) < GONE_MS)
    .sort(([, a], [, b]) => (b.goneMs as number) - (a.goneMs as number))
    .slice(0, MOST_GONE);
  for (const [id, cursor] of gone) cursors.set(id, cursor);
  return { records, cursors };
}
