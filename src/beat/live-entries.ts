/**
 * The entries of a leader in its memory: what each is, when it is to be looked at, and what is to be decided now. Asks no store and sends
 * nothing; `scheduler.ts` carries out what it says and tells it what became of it.
 */
import type { CanvasFacts } from '../canvas/routes.js';
import { codeOf, toError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { chordsOf } from '../results/chords.js';
import type { ResultStore } from '../results/result-store.js';
import type { EntryRecord, RunRequest } from './beat-store.js';
import { checkOverlap, type Definition, decodeTimes } from './definition.js';
import { decide, firstDueMs, isBusy, LONGEST_RUN_MS } from './entry.js';
import { decodeState, type EntryState, type RunNote, withEnd, withRuns } from './entry-state.js';
import { DueHeap } from './heap.js';
import { type Occasion, planRun, type RunPlan } from './messages.js';
import { Outcomes, type RunEnd } from './outcomes.js';

export interface LiveEntriesOptions {
  readonly results: ResultStore;
  readonly logger: Logger;
  readonly nowMs: () => number;
  readonly facts: () => CanvasFacts;
  readonly resultTtlMs: number | null;
  /** Runs may be sent twice, because message and decision are two steps. */
  readonly isRepeated: boolean;
  /** How runs end is waited for, and kept. */
  readonly hearsEnds: boolean;
  /** A run has ended: there is something to note, and perhaps to send. */
  readonly onEnd: () => void;
}

interface Live {
  readonly revision: number;
  readonly paused: boolean;
  /** `null`: it cannot be read. */
  definition: Definition | null;
  seq: number;
  state: EntryState;
  /** Ends of runs that the store does not know yet. */
  dirty: boolean;
}

/** A decision on its way. */
export interface Work {
  readonly id: string;
  readonly live: Live;
  readonly state: EntryState;
  readonly plans: readonly RunPlan[];
  readonly request: string | null;
  /** When to decide again; `'as-it-was'`: this says nothing of slots. */
  readonly nextMs: number | null | 'as-it-was';
}

export class LiveEntries {
  readonly #options: LiveEntriesOptions;
  readonly #entries = new Map<string, Live>();
  readonly #heap = new DueHeap();
  readonly #dirty = new Set<string>();
  readonly #outcomes: Outcomes;

  constructor(options: LiveEntriesOptions) {
    this.#options = options;
    const { results, logger, nowMs } = options;
    this.#outcomes = new Outcomes({ results, logger, nowMs, onEnd: (...end) => this.#ended(...end) });
  }

  /** When the next one is due; `null`: none is. */
  get firstMs(): number | null {
    return this.#heap.first();
  }

  /** Forgets all. */
  clear(): void {
    this.#entries.clear();
    this.#heap.clear();
    this.#dirty.clear();
    this.#outcomes.clear();
  }

  forget(id: string): void {
    this.#entries.delete(id);
    this.#heap.set(id, null);
    this.#dirty.delete(id);
  }

  /** As the store has it. */
  take({ id, revision, paused, definition: text, seq, state }: EntryRecord): void {
    const { results, nowMs } = this.#options;
    const known = this.#entries.get(id);
    // Of the same number: what is known here may have ends of runs that the store has not. Of another one: the store says what holds, also
    // when it is behind, because a fail-over or a restart has lost its last decisions and their messages.
    const kept = known?.seq === seq ? known : { seq, state: decodeState(state), dirty: false };
    let definition: Definition | null = null;
    let dueMs: number | null = null;
    try {
      const read = decodeTimes(text, `schedule ${id}`);
      checkOverlap(read, results.capabilities.readableByAnyone, `schedule ${id}`);
      dueMs = paused ? null : firstDueMs(id, read, kept.state, nowMs());
      definition = read;
    } catch (error) {
      this.#cannotRead(id, error);
    }
    this.#entries.set(id, { revision, paused, definition, seq: kept.seq, state: kept.state, dirty: kept.dirty });
    for (const run of kept.state.runs) if (run.state === null) this.#outcomes.watch(id, run.taskId);
    this.#heap.set(id, dueMs);
  }

  /** What is due, and ends of runs to note; `more`: this was not all. */
  due(nowMs: number, most: number): { readonly work: readonly Work[]; readonly more: boolean } {
    const ids = this.#heap.take(nowMs, most);
    const work = ids.flatMap((id) => this.#decide(id, nowMs) ?? []);
    const named = new Set(work.map(({ id }) => id));
    for (const id of this.#dirty) {
      if (work.length >= most) break;
      this.#dirty.delete(id);
      const live = this.#entries.get(id);
      if (live?.dirty && !named.has(id))
        work.push({ id, live, state: live.state, plans: [], request: null, nextMs: 'as-it-was' });
    }
    return { work, more: ids.length === most || this.#dirty.size > 0 };
  }

  /** A run that somebody wants, also of a paused entry; `null`: there is no such entry, or it cannot be read. */
  wanted({ id: request, entry }: RunRequest, nowMs: number): Work | null {
    const live = this.#entries.get(entry);
    if (!live?.definition) return null;
    const plans: RunPlan[] = [];
    const run = this.#plan(entry, live.definition, { request }, nowMs, plans);
    return { id: entry, live, state: withRuns(live.state, [run]), plans, request, nextMs: 'as-it-was' };
  }

  /** The store has it. */
  done({ id, live, state, plans, nextMs }: Work, nowMs: number): void {
    live.seq += 1;
    live.dirty = false;
    live.state = state;
    for (const { taskId, isTold } of plans) {
      if (isTold) this.#outcomes.watch(id, taskId);
      this.#options.logger.info({ entry: id, taskId }, 'beat: sent');
    }
    this.#wake(id, state, nextMs, nowMs);
  }

  #decide(id: string, nowMs: number): Work | null {
    const live = this.#entries.get(id);
    if (!live?.definition || live.paused) return null;
    const { definition } = live;
    const { slots, state, changed, nextMs } = decide(id, definition, live.state, nowMs);
    if (!changed) {
      this.#wake(id, live.state, nextMs, nowMs);
      return null;
    }
    try {
      if (slots.length > 0) void definition.signature;
    } catch (error) {
      live.definition = null;
      this.#cannotRead(id, error);
      return null;
    }
    const plans: RunPlan[] = [];
    const runs = slots.map((slotMs) => this.#plan(id, definition, { slotMs }, nowMs, plans));
    return { id, live, state: withRuns(state, runs), plans, request: null, nextMs };
  }

  #cannotRead(id: string, error: unknown): void {
    const fields = { entry: id, code: codeOf(error), cause: toError(error).message };
    this.#options.logger.error(fields, 'beat: an entry cannot be read and does not run');
  }

  #plan(id: string, definition: Definition, occasion: Occasion, nowMs: number, plans: RunPlan[]): RunNote {
    const { facts, resultTtlMs, isRepeated, hearsEnds, logger, results } = this.#options;
    const note = { slotMs: 'slotMs' in occasion ? occasion.slotMs : null, sentMs: nowMs, endedMs: null };
    try {
      const planned = planRun(id, definition, occasion, { facts: facts(), resultTtlMs, nowMs, isRepeated });
      // Refused here, where it stops this run alone.
      if (planned.chords.length > 0) chordsOf(results);
      const plan = { ...planned, isTold: planned.isTold && hearsEnds };
      plans.push(plan);
      return { ...note, taskId: plan.taskId, state: plan.isTold ? null : 'SENT', error: null };
    } catch (thrown) {
      const error = toError(thrown);
      logger.error({ entry: id, code: codeOf(thrown), cause: error.message }, 'beat: a run cannot be sent');
      return { ...note, taskId: '', state: 'REFUSED', endedMs: nowMs, error: error.message };
    }
  }

  #wake(id: string, state: EntryState, nextMs: Work['nextMs'], nowMs: number): void {
    const live = this.#entries.get(id);
    if (!live?.definition || live.paused || nextMs === 'as-it-was') return;
    // What is held back is looked at when the run before ends; when none is under way, at once.
    const isHeld = nextMs === null && live.definition.resolved.overlap === 'queue' && state.heldMs !== null;
    this.#heap.set(id, isHeld ? (isBusy(state, nowMs) ? nowMs + LONGEST_RUN_MS : nowMs) : nextMs);
  }

  #ended(id: string, taskId: string, end: RunEnd): void {
    const live = this.#entries.get(id);
    if (live === undefined) return;
    const state = withEnd(live.state, taskId, end);
    if (state === live.state) return;
    live.state = state;
    live.dirty = true;
    this.#dirty.add(id);
    const isHeld = live.definition?.resolved.overlap === 'queue' && state.heldMs !== null;
    if (isHeld && !live.paused) this.#heap.set(id, this.#options.nowMs());
    this.#options.onEnd();
  }
}
