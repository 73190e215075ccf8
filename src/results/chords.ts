/**
 * How the parts of a chord are counted: a part of the result-store seam. A chord is opened before its parts are sent; each part reports
 * its end, once or several times; whoever gets the verdict sends the body, or ends it, and then closes the chord. So a worker that dies
 * in between leaves a chord that the part's next delivery completes again. Drivers pass `testing/conformance/chords.ts`.
 */

import { ResultError } from '../core/errors.js';
import type { ResultStore } from './result-store.js';

export interface OpenChord {
  /** Id of the header's group. */
  readonly groupId: string;
  /** How many parts report. */
  readonly size: number;
  /** What `overdue` gives back: the body, as JSON text. */
  readonly body: string;
  /** Wall time by which all parts must have reported. */
  readonly deadlineMs: number;
  /** How long it is kept after its last change. */
  readonly ttlMs: number;
}

/** A part that has ended. */
export interface PartEnd {
  readonly groupId: string;
  /** Its place among the results; `null` = behind all others. */
  readonly index: number | null;
  readonly taskId: string;
  /** SUCCESS, FAILURE or REVOKED. */
  readonly state: string;
  /** Result or exception as JSON text. */
  readonly resultJson: string;
  readonly ttlMs: number;
  /** Though it did not succeed it does not end the chord, which goes on when all parts have reported. */
  readonly settlesAll?: boolean;
}

/** How a part ended. */
export type KeptEnd = Pick<PartEnd, 'taskId' | 'state' | 'resultJson'>;

/**
 * `open`: parts are missing, or the chord is closed or was never opened (`isUnkept`: nobody keeps its deadline; see `adopt`). `complete`: the results in order, as JSON texts. `failed`: a
 * part did not succeed; which one. Told to the part by which it failed, however often that reports, and to no other. `all`: how all parts
 * ended, in order, once all have.
 */
export type ChordVerdict =
  | { readonly kind: 'open'; readonly isUnkept?: true }
  | { readonly kind: 'complete'; readonly results: readonly string[] }
  | { readonly kind: 'failed'; readonly part: KeptEnd; readonly all?: readonly KeptEnd[] };

export interface OverdueChord {
  readonly groupId: string;
  readonly body: string;
}

/** A chord whose parts nobody counted, and that can end now. */
export interface UncountedChord {
  readonly groupId: string;
  /** Its signature, as JSON text. */
  readonly body: string;
  /** In order; `null`: they have not all ended, and nobody looks any longer. */
  readonly ends: readonly KeptEnd[] | null;
  /** The task that looked for them. */
  readonly parent: { readonly id: string; readonly rootId: string };
}

/** How far a chord has come. */
export interface ChordState {
  readonly size: number;
  /** In order. */
  readonly ends: readonly (KeptEnd & Pick<PartEnd, 'index'>)[];
}

/** A chord that somebody else opened, and whose deadline nobody keeps. */
export type Adoption = Omit<OpenChord, 'size'>;

export interface ChordStore {
  /** Again, or after it was closed, it changes nothing. */
  open(chords: readonly OpenChord[]): Promise<void>;
  /** Verdicts in order. A part that reports again changes nothing, and gets the verdict of the moment. */
  report(parts: readonly PartEnd[]): Promise<readonly ChordVerdict[]>;
  /** One part more, which reports without a place. Once for each id; before the last of the others has reported. */
  add?(groupId: string, taskId: string, ttlMs: number): Promise<void>;
  /** Its body was sent, or it was ended: what was counted is forgotten, and later reports change nothing. */
  close(groupIds: readonly string[]): Promise<void>;
  /** Open chords become overdue now: whoever found that they cannot be complete has no means to end them. */
  hasten(groupIds: readonly string[], nowMs: number): Promise<void>;
  /** How far an open chord has come; `null` when it is not open. Absent: at its deadline a chord fails, also one that settles all. */
  state?(groupId: string): Promise<ChordState | null>;
  /** Gives open chords that Python's clients opened a body and a deadline; others stay as they are. Only where both languages count. */
  adopt?(chords: readonly Adoption[]): Promise<void>;
  /** Open chords whose deadline was before this wall time, and when the next is due (`null`: none waits). */
  overdue(nowMs: number, most: number): Promise<{ readonly chords: readonly OverdueChord[]; readonly nextMs: number | null }>;
}

/** A part that will never run, and that no worker can report: its message was taken away. */
export interface HopelessPart extends Pick<PartEnd, 'groupId' | 'index' | 'taskId' | 'resultJson'> {
  /** Of its chord, as JSON text. */
  readonly body: string;
  readonly settlesAll: boolean;
}

/** Leaves the chords of these parts to the next look for overdue ones: whoever took the messages away cannot send bodies or errbacks. */
export async function giveUp(
  store: Pick<ResultStore, 'chords'>,
  parts: readonly HopelessPart[],
  resultTtlMs: number | null,
  nowMs: number,
): Promise<void> {
  const { chords } = store;
  if (!chords) return;
  const opened = parts.map(({ groupId, body }) => opening({ groupId, body, size: 0 }, resultTtlMs, nowMs));
  await chords.adopt?.(opened.map(({ size: _size, ...adoption }) => adoption));
  const ttlMs = keptMs(resultTtlMs);
  const settling = parts.filter(({ settlesAll }) => settlesAll);
  const verdicts = await chords.report(settling.map((part) => ({ ...part, state: 'REVOKED', ttlMs })));
  const complete = settling.filter((_, index) => verdicts[index]?.kind !== 'open');
  const hopeless = [...complete, ...parts.filter(({ settlesAll }) => !settlesAll)];
  await chords.hasten(
    hopeless.map(({ groupId }) => groupId),
    nowMs,
  );
}

/** @throws ResultError `E_CHORD_NEEDS_STORE` */
export function chordsOf({ chords, capabilities, name }: ResultStore): ChordStore {
  if (chords) return chords;
  const why = typeof capabilities.chords === 'string' ? capabilities.chords : `the result store ${name} counts no chords`;
  throw new ResultError('E_CHORD_NEEDS_STORE', why);
}

export const OPEN: ChordVerdict = Object.freeze({ kind: 'open' });

/** The verdict on a chord of which all parts have reported. */
export function verdictOf(parts: readonly KeptEnd[]): ChordVerdict {
  const failed = parts.find(({ state }) => state !== 'SUCCESS');
  return failed
    ? { kind: 'failed', part: failed, all: parts }
    : { kind: 'complete', results: parts.map(({ resultJson }) => resultJson) };
}

/** A workflow without a word for so long is over, where results are kept for ever. */
const LONGEST_MS = 86_400_000;
/** Kept for longer than its deadline, so that whoever ends it finds it. */
const LATE_MS = 3_600_000;

/** How long the parts of a chord are kept. @param resultTtlMs how long results are; `null` = for ever */
export const keptMs = (resultTtlMs: number | null): number => (resultTtlMs ?? LONGEST_MS) + LATE_MS;

/** A chord to open, whose deadline is the time to live of results. */
export function opening(
  chord: Pick<OpenChord, 'groupId' | 'size' | 'body'>,
  resultTtlMs: number | null,
  nowMs: number,
): OpenChord {
  return { ...chord, deadlineMs: nowMs + (resultTtlMs ?? LONGEST_MS), ttlMs: keptMs(resultTtlMs) };
}
