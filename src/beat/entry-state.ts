/**
 * What was decided of an entry: up to which slot, what was sent, left out and held back, and how its last runs ended. Written by the
 * leader alone, as JSON text, so a field more hurts no older reader. Pure.
 */

/** Runs that an entry remembers. */
export const MOST_RUNS = 20;
/** Characters of an error that are kept. */
const LONGEST_ERROR = 500;

/** A run that was sent. Epoch milliseconds. */
export interface RunNote {
  /** Its slot; `null`: somebody wanted it. */
  readonly slotMs: number | null;
  readonly taskId: string;
  readonly sentMs: number;
  /** Celery's final state; `null`: it has not ended, as far as is known. `SENT`: nobody will tell. `REFUSED`: it could not be sent. */
  readonly state: string | null;
  readonly endedMs: number | null;
  readonly error: string | null;
}

export interface EntryState {
  /** Every slot up to here is decided; `null`: none. */
  readonly cursorMs: number | null;
  readonly sent: number;
  /** Slots left out because no scheduler or no broker was there in time. */
  readonly missed: number;
  /** Slots left out because the run before had not ended. */
  readonly skipped: number;
  /** The first slot that waits for the run before (`overlap: 'queue'`). */
  readonly heldMs: number | null;
  /** The newest last. */
  readonly runs: readonly RunNote[];
}

export const NO_STATE: EntryState = { cursorMs: null, sent: 0, missed: 0, skipped: 0, heldMs: null, runs: [] };

/** Whatever cannot be read counts as nothing: a broken state must not stop a schedule. */
export function decodeState(text: string | null): EntryState {
  if (text === null) return NO_STATE;
  try {
    const value = JSON.parse(text) as Partial<EntryState>;
    return { ...NO_STATE, ...value, runs: Array.isArray(value.runs) ? value.runs.slice(-MOST_RUNS) : [] };
  } catch {
    return NO_STATE;
  }
}

export const encodeState = (state: EntryState): string => JSON.stringify(state);

export function withRuns(state: EntryState, runs: readonly RunNote[]): EntryState {
  return { ...state, sent: state.sent + runs.length, runs: [...state.runs, ...runs].slice(-MOST_RUNS) };
}

/** The state after one of its runs has ended; the same one if it does not remember that run. */
export function withEnd(state: EntryState, taskId: string, end: Pick<RunNote, 'state' | 'endedMs' | 'error'>): EntryState {
  if (!state.runs.some((run) => run.taskId === taskId && run.state === null)) return state;
  const error = end.error === null ? null : end.error.slice(0, LONGEST_ERROR);
  return { ...state, runs: state.runs.map((run) => (run.taskId === taskId ? { ...run, ...end, error } : run)) };
}
