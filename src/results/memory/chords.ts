/** Chords of a `memory:NAME`: the reference for the rules of `chords.ts`. Bounded by the times that each chord is kept. */
import type { Clock } from '../../core/clock.js';
import {
  type ChordState,
  type ChordVerdict,
  OPEN,
  type OpenChord,
  type OverdueChord,
  type PartEnd,
  verdictOf,
} from '../chords.js';

interface Counted {
  readonly parts: Map<string, PartEnd>;
  /** Ids of parts that came later. */
  readonly added: Set<string>;
  /** `null`: never opened here; closed ones stay so for their time. */
  opened: OpenChord | null;
  isClosed: boolean;
  /** The part by which it failed. */
  failedBy: string | null;
  untilMs: number;
}

/** Each change looks at this many chords and drops what has expired. */
const SWEEP_STEP = 2;

export class MemoryChords {
  readonly #clock: Clock;
  readonly #chords = new Map<string, Counted>();
  #sweep: IterableIterator<[string, Counted]> = this.#chords.entries();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  open(chord: OpenChord): void {
    const counted = this.#of(chord.groupId, chord.ttlMs);
    if (!counted.isClosed) counted.opened ??= chord;
  }

  report(part: PartEnd): ChordVerdict {
    const counted = this.#of(part.groupId, part.ttlMs);
    if (counted.isClosed) return OPEN;
    const first = counted.parts.get(part.taskId);
    if (!first) counted.parts.set(part.taskId, part);
    if (counted.opened === null || (counted.failedBy !== null && counted.failedBy !== part.taskId)) return OPEN;
    const own = first ?? part;
    if (own.state !== 'SUCCESS' && part.settlesAll !== true) {
      counted.failedBy = own.taskId;
      return { kind: 'failed', part: own };
    }
    if (counted.parts.size < counted.opened.size + counted.added.size) return OPEN;
    return verdictOf(inOrder(counted));
  }

  state(groupId: string): ChordState | null {
    const counted = this.#chords.get(groupId);
    return counted?.opened ? { size: counted.opened.size + counted.added.size, ends: inOrder(counted) } : null;
  }

  add(groupId: string, taskId: string, ttlMs: number): void {
    const counted = this.#of(groupId, ttlMs);
    if (!counted.isClosed) counted.added.add(taskId);
  }

  close(groupId: string): void {
    const counted = this.#chords.get(groupId);
    if (!counted) return;
    counted.isClosed = true;
    counted.parts.clear();
    counted.added.clear();
    counted.opened = null;
  }

  hasten(groupId: string, nowMs: number): void {
    const counted = this.#chords.get(groupId);
    if (counted?.opened) counted.opened = { ...counted.opened, deadlineMs: Math.min(counted.opened.deadlineMs, nowMs) };
  }

  overdue(nowMs: number, most: number): { readonly chords: OverdueChord[]; readonly nextMs: number | null } {
    const open = [...this.#chords.values()].flatMap(({ opened }) => opened ?? []).sort((a, b) => a.deadlineMs - b.deadlineMs);
    const late = open.filter(({ deadlineMs }) => deadlineMs <= nowMs).slice(0, most);
    const chords = late.map(({ groupId, body }) => ({ groupId, body }));
    return { chords, nextMs: open[late.length]?.deadlineMs ?? null };
  }

  #of(groupId: string, ttlMs: number): Counted {
    const nowMs = this.#clock.monotonicMs();
    this.#sweepSome(nowMs);
    let counted = this.#chords.get(groupId);
    if (!counted || counted.untilMs <= nowMs) {
      counted = { parts: new Map(), added: new Set(), opened: null, isClosed: false, failedBy: null, untilMs: 0 };
      this.#chords.set(groupId, counted);
    }
    counted.untilMs = nowMs + ttlMs;
    return counted;
  }

  #sweepSome(nowMs: number): void {
    for (let step = 0; step < SWEEP_STEP; step += 1) {
      const next = this.#sweep.next();
      if (next.done) {
        this.#sweep = this.#chords.entries();
        return;
      }
      const [groupId, { untilMs }] = next.value;
      if (untilMs <= nowMs) this.#chords.delete(groupId);
    }
  }
}

const inOrder = ({ parts }: Counted): PartEnd[] =>
  [...parts.values()].sort((a, b) => (a.index ?? Infinity) - (b.index ?? Infinity) || 0);
