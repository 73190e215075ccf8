/**
 * What every task of a drill does: it notes its start and its end in the ledger, a file outside Lovage
 * (`harness/ledger.ts` has the format), with the label of the worker process that the harness gave it.
 */
import { openSync, writeSync } from 'node:fs';
import { type TaskContext, taskContext } from 'lovage';

const ledger = openSync(process.env['LOVAGE_DRILL_LEDGER'] ?? '/dev/null', 'a');
/** Label of the worker process that this is a part of. */
export const worker = process.env['LOVAGE_DRILL_WORKER'] ?? `pid-${process.pid}`;

// A drill that was killed can no longer end its workers: they end themselves when somebody else has adopted them.
const parent = process.ppid;
setInterval(() => process.ppid !== parent && process.kill(process.pid, 'SIGKILL'), 2_000).unref();

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export function note(what: 'start' | 'end' | 'fail', context: TaskContext): void {
  writeSync(ledger, `${what} ${context.id} ${context.attempt} ${worker} ${Date.now()}\n`);
}

/** Runs the work between the two lines of the ledger. */
export async function noted<T>(work: () => T | Promise<T>): Promise<T> {
  const context = taskContext();
  note('start', context);
  try {
    const result = await work();
    note('end', context);
    return result;
  } catch (error) {
    note('fail', context);
    throw error;
  }
}
