/**
 * What is done about revoked tasks that are in the worker already. One that waits is taken back. One that runs goes on, as in
 * Celery, unless it is to be terminated: then its signal aborts, and if it has not ended within a moment its executor ends it,
 * or, when that does not answer, is ended itself (`overrun.ts`). Next stop: `revoked.ts` for those that are still to come.
 */
import { constants } from 'node:os';
import type { RevokeHow, RevokePort } from '../../../control/worker-port.js';
import { toError } from '../../../core/errors.js';
import type { Logger } from '../../../core/logger.js';
import type { TaskHeaders } from '../../../wire/task-message.js';
import type { Executors } from '../executors/executors.js';
import { endRevoked, type OverrunOptions } from '../executors/overrun.js';
import type { Settler } from '../settle.js';
import type { ActiveRun } from '../state.js';
import { REVOKED_UNBEGUN, type Revoked, valuesOf } from './revoked.js';

/** How long a terminated task may take to end by itself. Nothing with KILL, which no task could catch. */
const MOMENT_MS = 1_000;
/** And its executor, to say that it has ended it: a neighbour may keep the loop for a while. */
const ANSWER_MS = 1_500;
/** The executor of a run that waits for one. */
const NONE = -1;

export interface TerminatorOptions {
  readonly revoked: Revoked;
  readonly executors: Executors;
  readonly active: ReadonlyMap<number, ActiveRun>;
  readonly settler: Settler;
  readonly logger: Logger;
  /** `null`: the executor shares the engine's loop, and nobody could end it. */
  readonly overrun: () => OverrunOptions | null;
  /** Takes the run out of the books; its outcome follows. */
  readonly onEnded: (run: ActiveRun) => void;
}

/** For the remote commands. Of Celery's signals KILL leaves no moment; all others mean the same here. */
export class Terminator implements Omit<RevokePort, 'store'> {
  readonly #options: TerminatorOptions;
  #looking = false;

  constructor(options: TerminatorOptions) {
    this.#options = options;
  }

  /** Revokes tasks that are here and those that are to come. Resolves with the ids of those that were told to end. */
  revoke(ids: readonly string[], how: RevokeHow): string[] {
    this.#options.revoked.hear(ids);
    const wanted = new Set(ids);
    return this.#revokeHere(({ id }) => wanted.has(id), how);
  }

  /** The same by the values of stamped headers. */
  revokeByStamps(headers: ReadonlyMap<string, readonly string[]>, how: RevokeHow): string[] {
    for (const [header, values] of headers) this.#options.revoked.hearStamps(header, values);
    return this.#revokeHere(
      ({ stampedHeaders, stamps }) =>
        stampedHeaders?.some((name) => valuesOf(stamps[name]).some((value) => headers.get(name)?.includes(value))) === true,
      how,
    );
  }

  hear(ids: readonly string[]): void {
    this.#options.revoked.hear(ids);
  }

  list(limitBytes: number): readonly string[] {
    return this.#options.revoked.list(limitBytes);
  }

  /** The records have changed: what waits here may be among them. */
  async lookAtWaiting(): Promise<void> {
    const { active, revoked, executors, logger } = this.#options;
    if (this.#looking || executors.waiting === 0) return;
    this.#looking = true;
    try {
      const ids = [...active.values()].filter(({ executor }) => executor === NONE).map(({ headers }) => headers.id);
      const found = await revoked.ask(ids);
      if (found.size > 0) this.#revokeHere(({ id }) => found.has(id), { terminate: false, signal: '' });
    } catch (error) {
      // Asked again with the next change; those who listen have heard of it anyway.
      logger.warn({ error: toError(error).message }, 'revocations could not be looked up');
    } finally {
      this.#looking = false;
    }
  }

  #revokeHere(isMeant: (headers: TaskHeaders) => boolean, how: RevokeHow): string[] {
    const { active, executors, settler, onEnded } = this.#options;
    const running: ActiveRun[] = [];
    for (const run of [...active.values()]) {
      if (!isMeant(run.headers)) continue;
      if (run.executor === NONE && executors.withdraw(run)) {
        onEnded(run);
        settler.outcomes([{ outcome: { ...REVOKED_UNBEGUN, run: run.run }, run }]);
      } else if (how.terminate) running.push(run);
    }
    // After this turn: what was given to an executor in it is on its way only then.
    if (running.length > 0) queueMicrotask(() => this.#terminate(running, how));
    return running.map(({ headers }) => headers.id);
  }

  #terminate(runs: readonly ActiveRun[], how: RevokeHow): void {
    const { executors } = this.#options;
    const signum = signalNumber(how.signal);
    for (const run of runs) run.terminatedBy = signum;
    const graceMs = signum === constants.signals.SIGKILL ? 0 : MOMENT_MS;
    for (const executor of new Set(runs.map((run) => run.executor))) {
      const own = runs.filter((run) => run.executor === executor).map(({ run }) => run);
      executors.post(executor, { type: 'terminate', runs: own, graceMs });
    }
    setTimeout(() => {
      for (const run of runs) this.#insist(run, how);
    }, graceMs + ANSWER_MS).unref();
  }

  /** A moment later. */
  #insist(run: ActiveRun, how: RevokeHow): void {
    const { active, overrun } = this.#options;
    const options = overrun();
    const now = active.get(run.run);
    if (!now || !options) return;
    // Its executor was ended meanwhile because of a neighbour, and it starts or has started again elsewhere.
    if (now !== run || now.executor === NONE) this.#revokeHere(({ id }) => id === run.headers.id, how);
    else void endRevoked(now, options);
  }
}

/** By name, with or without SIG, or as a number in digits; `null` for what no signal is called. */
function signalNumber(signal: string): number | null {
  if (/^\d{1,2}$/.test(signal)) return Number(signal);
  const name = signal.toUpperCase();
  const known: Readonly<Record<string, number>> = constants.signals;
  return known[name.startsWith('SIG') ? name : `SIG${name}`] ?? null;
}
