/**
 * Judges a ledger: nothing that was sent is missing, and nothing ran twice without a fault that explains it. Pure.
 * A run is another's duplicate if both belong to the same try of the same task.
 */
import type { Fault, LedgerView, Run } from './ledger.js';

/** How tasks may end without having run to their end. Each id must be shown by evidence outside the ledger's writers. */
export interface Accounted {
  /** Found in the dead letters. */
  readonly parked?: ReadonlySet<string>;
  /** REVOKED, or dropped by a broker that drops expired messages itself. */
  readonly expired?: ReadonlySet<string>;
  readonly revoked?: ReadonlySet<string>;
}

export interface Verdict {
  readonly sent: number;
  readonly executed: number;
  readonly parked: number;
  readonly expired: number;
  readonly revoked: number;
  /** Sent, and neither executed nor accounted for otherwise. */
  readonly lost: readonly string[];
  /** Ran, though no send of theirs was confirmed or is known. */
  readonly strangers: readonly string[];
  /** Runs beyond the first of a try. */
  readonly duplicates: number;
  /** Duplicates that no fault explains. */
  readonly unexplained: readonly Run[];
  /** Longest time from a kill to the next start of a task that it interrupted; `null` if no kill interrupted one. */
  readonly slowestRerunMs: number | null;
  /** Tasks that a kill interrupted. */
  readonly interrupted: number;
}

/** Between the end of a run and its settlement lie a result write and an ack, each retried through an outage. */
const SETTLE_MS = 2_000;

/** Whether a fault can have taken this run's delivery away before the next run began. */
function explains(fault: Fault, run: Run, next: Run): boolean {
  if (fault.target === `task:${run.id}`) return true; // two messages of one id, and the sender could not know
  const hits = fault.target === run.worker || fault.target === 'broker' || fault.target === `network:${run.worker}`;
  const until = Math.min(next.startMs, run.endMs === null ? Number.POSITIVE_INFINITY : run.endMs + SETTLE_MS);
  return hits && fault.fromMs <= until && fault.toMs >= run.startMs;
}

/** When the system could begin to run it again: at the kill, or when the last broker fault that overlaps the wait was over. */
function couldStartMs(kill: Fault, next: Run, faults: readonly Fault[]): number {
  let from = kill.toMs;
  for (const fault of faults) {
    if (fault.target === 'broker' && fault.toMs > from && fault.fromMs < next.startMs) from = Math.min(fault.toMs, next.startMs);
  }
  return from;
}

export function judge(view: LedgerView, accounted: Accounted = {}): Verdict {
  const { parked = new Set(), expired = new Set(), revoked = new Set() } = accounted;
  const unexplained: Run[] = [];
  const strangers: string[] = [];
  let duplicates = 0;
  let interrupted = 0;
  let slowestRerunMs: number | null = null;
  for (const [id, runs] of view.runs) {
    if (!view.sent.has(id)) strangers.push(id);
    for (const [index, next] of runs.entries()) {
      const before = runs.slice(0, index).filter((run) => run.attempt === next.attempt);
      if (before.length === 0) continue;
      duplicates += 1;
      if (!before.some((run) => view.faults.some((fault) => explains(fault, run, next)))) unexplained.push(next);
    }
    for (const [index, run] of runs.entries()) {
      const kill = view.faults.find((fault) => fault.kind === 'kill' && fault.target === run.worker);
      if (!kill || run.endMs !== null || run.startMs > kill.toMs) continue;
      interrupted += 1;
      const next = runs.slice(index + 1).find((other) => other.startMs >= kill.fromMs);
      if (next) slowestRerunMs = Math.max(slowestRerunMs ?? 0, next.startMs - couldStartMs(kill, next, view.faults));
    }
  }
  const lost = [...view.sent.keys()].filter(
    (id) => !view.executed.has(id) && !parked.has(id) && !expired.has(id) && !revoked.has(id),
  );
  let executed = 0;
  for (const id of view.sent.keys()) if (view.executed.has(id)) executed += 1;
  const only = (ids: ReadonlySet<string>): number => [...ids].filter((id) => view.sent.has(id) && !view.executed.has(id)).length;
  return {
    ...{ sent: view.sent.size, executed, parked: only(parked), expired: only(expired), revoked: only(revoked) },
    ...{ lost, strangers, duplicates, unexplained, slowestRerunMs, interrupted },
  };
}
