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
  /** Longest time from a kill (the last one that met it) to the next start of a task that it interrupted; `null` if no kill interrupted one. */
  readonly slowestRerunMs: number | null;
  /** Tasks that a kill interrupted. */
  readonly interrupted: number;
}

/** What is particular to a broker. */
export interface JudgeOptions {
  /**
   * One process writes at a time, and one that is stopped (SIGSTOP) in the middle of a write keeps all others waiting: an
   * embedded file. Their runs are settled only after it goes on.
   */
  readonly oneWriter?: boolean;
  /** How long a run that has ended may wait for its settlement without an outage, in milliseconds. Default 2 s. */
  readonly settleMs?: number;
  /**
   * Which workers were given a task again, and when, by task id: from their logs. A task that waits in a worker (for its turn alone, for
   * the end of an inquest) when that one is killed too begins its way anew.
   */
  readonly receipts?: ReadonlyMap<string, readonly Receipt[]>;
}

/** A worker was given a task again. */
export interface Receipt {
  readonly worker: string;
  readonly atMs: number;
}

/** Between the end of a run and its settlement lie a result write and an ack, each retried through an outage. */
const SETTLE_MS = 2_000;

const isOn = (fault: Fault, worker: string): boolean =>
  [worker, 'broker', `network:${worker}`, `network:${worker.split('.')[0]}`].includes(fault.target);

/** Until when the delivery of a run may still have been unsettled. */
function openUntilMs(run: Run, faults: readonly Fault[], { oneWriter, settleMs = SETTLE_MS }: JudgeOptions): number {
  if (run.endMs === null) return Number.POSITIVE_INFINITY;
  let until = run.endMs + settleMs;
  if (oneWriter)
    for (const { kind, fromMs, toMs } of faults)
      if (kind === 'stop' && fromMs <= until && toMs >= run.endMs) until = toMs + settleMs;
  return until;
}

/** What a broken connection left unconfirmed the client publishes again under its id: the broker may have had it already. */
function sentTwice({ target, fromMs, toMs }: Fault, id: string, { sent, begun }: LedgerView): boolean {
  const [confirmedMs, begunMs] = [sent.get(id), begun.get(id)];
  if (confirmedMs === undefined || begunMs === undefined) return false;
  return (target === 'sender' || target === 'broker') && fromMs <= confirmedMs && toMs >= begunMs;
}

/** Whether a fault explains that a try which ran as `run` ran again as `next`. */
function explains(fault: Fault, run: Run, next: Run, openUntil: number): boolean {
  if (fault.target === `task:${run.id}`) return true; // two messages of one id, and the sender could not know
  // It took the delivery away from the worker that had it, also one that began just after it came to …
  const inTime = fault.fromMs <= Math.min(next.startMs, openUntil) && fault.toMs + SETTLE_MS >= run.startMs;
  if (isOn(fault, run.worker) && inTime) return true;
  // … or the worker that had it was cut off before it could begin, and began when it came to, or before it knew.
  return isOn(fault, next.worker) && fault.fromMs <= run.startMs && fault.toMs + SETTLE_MS >= next.startMs;
}

/**
 * When the system could begin to run it again: at the kill, or at that of the last worker that had been given it meanwhile, or when the
 * last broker fault that overlaps the wait was over.
 */
function couldStartMs(kill: Fault, next: Run, faults: readonly Fault[], receipts: readonly Receipt[]): number {
  let from = kill.toMs;
  for (const { worker, atMs } of receipts) {
    if (atMs < kill.fromMs || atMs > next.startMs) continue;
    const death = faults.find(({ kind, target }) => kind === 'kill' && target === worker);
    if (death && death.fromMs >= atMs && death.toMs <= next.startMs) from = Math.max(from, death.toMs);
  }
  for (const fault of faults) {
    if (fault.target === 'broker' && fault.toMs > from && fault.fromMs < next.startMs) from = Math.min(fault.toMs, next.startMs);
  }
  return from;
}

export function judge(view: LedgerView, accounted: Accounted = {}, options: JudgeOptions = {}): Verdict {
  const { parked = new Set(), expired = new Set(), revoked = new Set() } = accounted;
  const unexplained: Run[] = [];
  const strangers: string[] = [];
  let duplicates = 0;
  let interrupted = 0;
  let slowestRerunMs: number | null = null;
  for (const [id, runs] of view.runs) {
    if (!view.sent.has(id)) strangers.push(id);
    const repeated = new Set<number>();
    for (const [index, next] of runs.entries()) {
      const before = runs.slice(0, index).filter((run) => run.attempt === next.attempt);
      if (before.length === 0) continue;
      duplicates += 1;
      // A try that ran twice for a reason may each time have been followed by another try.
      const inherited = runs.some((run) => repeated.has(run.attempt) && run.attempt < next.attempt);
      const isExplained = before.some((run) => {
        const openUntil = openUntilMs(run, view.faults, options);
        return view.faults.some((fault) => explains(fault, run, next, openUntil) || sentTwice(fault, id, view));
      });
      if (inherited || isExplained) repeated.add(next.attempt);
      else unexplained.push(next);
    }
    for (const [index, run] of runs.entries()) {
      const kill = view.faults.find((fault) => fault.kind === 'kill' && fault.target === run.worker);
      if (!kill || run.endMs !== null || run.startMs > kill.toMs) continue;
      interrupted += 1;
      const next = runs.slice(index + 1).find((other) => other.startMs >= kill.fromMs);
      if (next)
        slowestRerunMs = Math.max(
          slowestRerunMs ?? 0,
          next.startMs - couldStartMs(kill, next, view.faults, options.receipts?.get(id) ?? []),
        );
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
