/** Chords in Redis: Celery's keys, and beside them what lets a part report twice and finds a chord that never ends. */
import type { RedisConnection } from '../../clients/redis.js';
import { WireError } from '../../core/errors.js';
import {
  type Adoption,
  type ChordState,
  type ChordStore,
  type ChordVerdict,
  type KeptEnd,
  OPEN,
  type OpenChord,
  type OverdueChord,
  type PartEnd,
  verdictOf,
} from '../chords.js';
import { chordAdd } from './scripts/chord-add.js';
import { chordAdopt } from './scripts/chord-adopt.js';
import { chordOpen } from './scripts/chord-open.js';
import { chordReport } from './scripts/chord-report.js';

/** How long it is remembered that a chord was closed; what reports later than that was long dead. */
const CLOSED_MS = 86_400_000;
/** How long the results of the parts are kept beyond that. */
const READ_MS = 60_000;

/** @param untilAnswered through outages: every step here may be repeated */
export class RedisChords implements ChordStore {
  readonly #connection: RedisConnection;
  readonly #prefix: string;
  readonly #index: string;
  readonly #untilAnswered: <T>(key: string, step: () => Promise<T>) => Promise<T>;

  constructor(
    connection: RedisConnection,
    prefix: string,
    untilAnswered: <T>(key: string, step: () => Promise<T>) => Promise<T>,
  ) {
    this.#connection = connection;
    this.#prefix = `${prefix}celery-taskset-meta-`;
    this.#index = `${prefix}lovage:chords`;
    this.#untilAnswered = untilAnswered;
  }

  async open(chords: readonly OpenChord[]): Promise<void> {
    await Promise.all(
      chords.map(({ groupId, size, body, deadlineMs, ttlMs }) => {
        const base = this.#prefix + groupId;
        const keys = [`${base}.s`, `${base}.c`, this.#index, `${base}.b`];
        const args = [String(size), body, String(deadlineMs), String(Math.ceil(ttlMs)), groupId];
        return this.#untilAnswered(base, () => this.#connection.run(chordOpen, [chordOpen.sha, '4', ...keys, ...args]));
      }),
    );
  }

  report(parts: readonly PartEnd[]): Promise<readonly ChordVerdict[]> {
    return Promise.all(parts.map((part) => this.#report(part)));
  }

  async #report({ groupId, index, taskId, state, resultJson, ttlMs, settlesAll }: PartEnd): Promise<ChordVerdict> {
    const base = this.#prefix + groupId;
    const keys = [`${base}.j`, `${base}.t`, `${base}.s`, `${base}.d`, `${base}.c`, `${base}.b`];
    const end = `[1, ${JSON.stringify(taskId)}, ${JSON.stringify(state)}, ${resultJson}]`;
    const args = [
      index === null ? '+inf' : String(index),
      end,
      taskId,
      state === 'SUCCESS' || settlesAll === true ? '0' : '1',
      String(Math.ceil(ttlMs)),
    ];
    const reply = await this.#untilAnswered(base, () =>
      this.#connection.run(chordReport, [chordReport.sha, '6', ...keys, ...args]),
    );
    if (Array.isArray(reply)) return verdictOf((reply as Buffer[]).map((text) => readEnd(text.toString())));
    if (reply === 2) return { kind: 'open', isUnkept: true };
    return reply === 1 ? { kind: 'failed', part: { taskId, state, resultJson } } : OPEN;
  }

  async add(groupId: string, taskId: string, ttlMs: number): Promise<void> {
    const base = this.#prefix + groupId;
    const args = [`${base}.t`, `${base}.a`, `${base}.c`, taskId, String(Math.ceil(ttlMs))];
    await this.#untilAnswered(base, () => this.#connection.run(chordAdd, [chordAdd.sha, '3', ...args]));
  }

  async close(groupIds: readonly string[]): Promise<void> {
    await Promise.all(
      groupIds.map((groupId) => {
        const base = this.#prefix + groupId;
        const parts = [
          ['set', `${base}.c`, '1', 'PX', String(CLOSED_MS)],
          ['unlink', ...['.t', '.s', '.d', '.b', '.a'].map((end) => base + end)],
          // a Python worker that has just counted the last part reads it after that
          ['pexpire', `${base}.j`, String(READ_MS)],
          ['zrem', this.#index, groupId],
        ] as const;
        return this.#untilAnswered(base, () => Promise.all(parts.map(([name, ...args]) => this.#connection.call(name, args))));
      }),
    );
  }

  async hasten(groupIds: readonly string[], nowMs: number): Promise<void> {
    const rows = groupIds.flatMap((groupId) => [String(nowMs), groupId]);
    if (rows.length === 0) return;
    await this.#untilAnswered(this.#index, () => this.#connection.call('zadd', [this.#index, 'XX', 'LT', ...rows]));
  }

  async state(groupId: string): Promise<ChordState | null> {
    const base = this.#prefix + groupId;
    const call = (name: string, ...args: string[]): Promise<unknown> =>
      this.#untilAnswered(base, () => this.#connection.call(name, args));
    const size = (await call('get', `${base}.s`)) as Buffer | null;
    if (size === null) return null;
    const added = (await call('get', `${base}.t`)) as Buffer | null;
    const rows = (await call('zrange', `${base}.j`, '0', '-1', 'WITHSCORES')) as Buffer[];
    const ends = rows.flatMap((text, at) => {
      const index = Number(rows[at + 1]);
      return at % 2 === 1 ? [] : [{ ...readEnd(text.toString()), index: Number.isFinite(index) ? index : null }];
    });
    return { size: Number(size) + Number(added ?? 0), ends };
  }

  async adopt(chords: readonly Adoption[]): Promise<void> {
    await Promise.all(
      chords.map(({ groupId, body, deadlineMs, ttlMs }) => {
        const base = this.#prefix + groupId;
        const keys = [`${base}.s`, this.#index, `${base}.b`];
        const args = [body, String(deadlineMs), String(Math.ceil(ttlMs)), groupId];
        return this.#untilAnswered(base, () => this.#connection.run(chordAdopt, [chordAdopt.sha, '3', ...keys, ...args]));
      }),
    );
  }

  async overdue(
    nowMs: number,
    most: number,
  ): Promise<{ readonly chords: readonly OverdueChord[]; readonly nextMs: number | null }> {
    const call = (name: string, ...args: string[]): Promise<unknown> =>
      this.#untilAnswered(this.#index, () => this.#connection.call(name, args));
    const range = (await call('zrange', this.#index, '0', String(most), 'WITHSCORES')) as Buffer[];
    const chords: OverdueChord[] = [];
    for (let at = 0; at < range.length; at += 2) {
      const groupId = String(range[at]);
      const deadlineMs = Number(range[at + 1]);
      if (deadlineMs > nowMs || chords.length === most) return { chords, nextMs: deadlineMs };
      const base = this.#prefix + groupId;
      const body = (await call('get', `${base}.b`)) as Buffer | null;
      // without a size and without a failure it was a Python worker that ended it, and took the size away
      const isOpen = (await call('exists', `${base}.s`)) === 1 || (await call('hget', `${base}.d`, '')) !== null;
      if (body && isOpen) chords.push({ groupId, body: body.toString() });
      else await this.close([groupId]);
    }
    return { chords, nextMs: null };
  }
}

const END = /^\[1, ?("(?:[^"\\]|\\.)*"), ?("(?:[^"\\]|\\.)*"), ?([\s\S]*)\]$/;

/** What a part of either language noted; its result stays the text that it was. */
function readEnd(text: string): KeptEnd {
  const [, taskId, state, resultJson] = END.exec(text) ?? [];
  if (taskId === undefined || state === undefined || resultJson === undefined)
    throw new WireError(
      'E_DECODE',
      `the end of a chord's part is ${JSON.stringify(text.slice(0, 80))}: neither Celery nor Lovage wrote it`,
    );
  return { taskId: String(JSON.parse(taskId)), state: String(JSON.parse(state)), resultJson };
}
