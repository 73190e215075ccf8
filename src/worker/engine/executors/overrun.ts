/**
 * What is done when a task keeps its executor's loop past a hard limit: the executor is ended by force. The task fails, if it
 * is known which of them it is; its neighbours start again elsewhere, and none has lost an attempt. If it may be any of
 * several, none is failed: each starts again alone, and there the one at fault shows itself.
 *
 * Executors that die by themselves are accounted for here too.
 *
 * A thread inside a native call cannot be ended. Then everything is handed back and the process ends (exit code 70).
 */

import type { Settlement } from '../../../brokers/broker.js';
import { formatMs } from '../../../core/duration.js';
import { TaskError } from '../../../core/errors.js';
import type { Logger } from '../../../core/logger.js';
import { pythonError } from '../../../wire/exception-info.js';
import { LOSSES_HEADER, SUSPECT_HEADER } from '../../../wire/own-headers.js';
import type { Outcome } from '../../port.js';
import { lossesOf, withHeader } from '../admission.js';
import type { Settler } from '../settle.js';
import type { ActiveRun, EngineCounters } from '../state.js';
import type { Executors } from './executors.js';

/** Ends executors; a pool's crew. */
export interface ExecutorHost {
  /** By force. `stuck`: it is inside a native call and does not end. */
  end(executor: number): Promise<'ended' | 'stuck'>;
}

export interface OverrunOptions {
  readonly host: ExecutorHost;
  readonly executors: Executors;
  readonly active: Map<number, ActiveRun>;
  readonly settler: Settler;
  readonly counters: EngineCounters;
  readonly logger: Logger;
  /** Wall milliseconds now. */
  readonly nowMs: () => number;
  /** Credit of a run that has ended. */
  readonly grant: (queue: string) => void;
  /** Takes nothing more, hands everything back, and ends the process. */
  readonly onStuck: (error: Error) => void;
}

/** Ends the executor; resolves when that is done or known to be impossible. */
export async function endOverrun(executor: number, culprit: ActiveRun | null, options: OverrunOptions): Promise<void> {
  const { executors, active, logger } = options;
  logger.error(
    culprit
      ? { executor, id: culprit.headers.id, task: culprit.headers.task }
      : { executor, candidates: runsOf(executor, active).length },
    culprit
      ? 'the hard time limit has passed and the task does not yield: its executor is ended'
      : 'a hard time limit has passed and one of the tasks does not yield: their executor is ended, and each starts again alone',
  );
  await endExecutor(executor, culprit, culprit ? overrunOutcome(culprit) : null, options);
  // The one at fault has shown itself: those who were suspected with it need not be alone any more.
  if (culprit?.alone) for (const run of executors.alone.takeSuspects()) startAgain(run, false, options);
}

/** Somebody revokes a task that does not heed its signal: its executor is ended, and its neighbours start again elsewhere. */
export async function endRevoked(run: ActiveRun, options: OverrunOptions): Promise<void> {
  const { executor, headers } = run;
  options.logger.warn({ executor, id: headers.id, task: headers.task }, 'the revoked task does not yield: its executor is ended');
  await endExecutor(executor, run, { kind: 'revoked', begun: true, abandoned: false }, options);
}

function runsOf(executor: number, active: ReadonlyMap<number, ActiveRun>): ActiveRun[] {
  return [...active.values()].filter((run) => run.executor === executor);
}

/** @param outcome what becomes of the culprit; without one each of the runs is suspected and starts again alone */
async function endExecutor(
  executor: number,
  culprit: ActiveRun | null,
  outcome: EndOutcome | null,
  options: OverrunOptions,
): Promise<void> {
  const { host, executors, active } = options;
  const runs = runsOf(executor, active);
  executors.detach(executor);
  // What it may still do must not run beside a second start of the same task, so nothing starts before it is gone.
  for (const run of runs) run.executor = -1;
  if (culprit && outcome) end(culprit, outcome, options);
  const others = runs.filter((run) => run !== culprit).sort((a, b) => Number(isOver(b)) - Number(isOver(a)));
  const ending = await host.end(executor);
  for (const run of others) {
    if (!active.has(run.run)) continue;
    if (run.settled) lose(run, options);
    else if (ending === 'stuck') handBack(run, culprit === null, options);
    else startAgain(run, culprit === null, options);
  }
  if (ending === 'stuck') {
    const name = culprit ? `task ${culprit.headers.task} (${culprit.headers.id})` : 'a task';
    const why = outcome?.kind === 'revoked' ? 'and was revoked' : 'past its hard time limit';
    const message = `${name} is inside a native call that cannot be ended, ${why}: the process must end. Pool 'processes' ends such a task alone`;
    options.onStuck(new TaskError('E_EXECUTOR_STUCK', message));
  }
}

/** Those past their limit are suspected first: the sooner the one at fault is found, the sooner the others are free. */
function isOver(run: ActiveRun): boolean {
  return run.timeLimitMs !== null && performance.now() - run.startedMs > run.timeLimitMs;
}

function startAgain(run: ActiveRun, isSuspect: boolean, { active, executors }: OverrunOptions): void {
  const again = { ...run, alone: isSuspect };
  active.set(run.run, again);
  if (isSuspect) executors.alone.dispatchSuspect(again);
  else executors.dispatch(again);
}

function overrunOutcome(run: ActiveRun): EndOutcome {
  const limitMs = run.timeLimitMs ?? 0;
  const exceptionJson = pythonError('TimeLimitExceeded', [limitMs / 1_000], 'billiard.exceptions');
  const traceback = `TimeLimitExceeded: the task did not yield for longer than its hard time limit of ${formatMs(limitMs)}`;
  return { kind: 'failure', exceptionJson, traceback, expected: false };
}

/** The executor died by itself: what ran there goes back, with the loss counted. */
export function giveBackLost(executor: number, reason: string, options: OverrunOptions): void {
  const { active, settler, logger, grant, nowMs } = options;
  for (const run of [...active.values()]) {
    if (run.executor !== executor) continue;
    logger.error({ id: run.headers.id, task: run.headers.task, reason }, 'executor died while this task was running');
    if (run.settled) {
      lose(run, options);
      continue;
    }
    active.delete(run.run);
    const message = withHeader(run.message, LOSSES_HEADER, lossesOf(run.delivery) - run.delivery.losses + 1);
    settler.withoutResult({ kind: 'defer', arrival: run.delivery, untilMs: nowMs(), message });
    grant(run.delivery.queue);
  }
}

/** Acked before it ran, so at most once: nobody may start it again. */
function lose(run: ActiveRun, options: OverrunOptions): void {
  const reason = 'its executor died or was ended; acked early, the task is not started again';
  const exceptionJson = pythonError('WorkerLostError', [reason], 'billiard.exceptions');
  end(run, { kind: 'failure', exceptionJson, traceback: reason, expected: false }, options);
}

/** What becomes of a run whose executor was ended because of it. */
type EndOutcome =
  | Pick<Extract<Outcome, { kind: 'failure' }>, 'kind' | 'exceptionJson' | 'traceback' | 'expected'>
  | Pick<Extract<Outcome, { kind: 'revoked' }>, 'kind' | 'begun' | 'abandoned'>;

function end(run: ActiveRun, known: EndOutcome, { active, settler, grant }: OverrunOptions): void {
  active.delete(run.run);
  const outcome: Outcome = { ...known, run: run.run, runtimeMs: performance.now() - run.startedMs, children: [] };
  settler.outcomes([{ outcome, run }]);
  grant(run.delivery.queue);
}

/** The process will end: a suspect carries the mark along, so that it starts alone elsewhere. */
function handBack(run: ActiveRun, isSuspect: boolean, { active, settler, counters, nowMs }: OverrunOptions): void {
  active.delete(run.run);
  counters.handedBack += 1;
  const settlement: Settlement = isSuspect
    ? { kind: 'defer', arrival: run.delivery, untilMs: nowMs(), message: withHeader(run.message, SUSPECT_HEADER, true) }
    : { kind: 'requeue', arrival: run.delivery, where: 'front' };
  settler.withoutResult(settlement);
}
