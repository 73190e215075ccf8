/**
 * The tasks of the drills, run by `lovage worker`. Each notes its start and its end in the ledger, a file outside Lovage
 * (`harness/ledger.ts` has the format), with the label of the worker process that the harness gave it.
 */
import { openSync, writeSync } from 'node:fs';
import { createApp, type TaskContext, taskContext } from 'lovage';

const ledger = openSync(process.env['LOVAGE_DRILL_LEDGER'] ?? '/dev/null', 'a');
const worker = process.env['LOVAGE_DRILL_WORKER'] ?? `pid-${process.pid}`;
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

// A drill that was killed can no longer end its workers: they end themselves when somebody else has adopted them.
const parent = process.ppid;
setInterval(() => process.ppid !== parent && process.kill(process.pid, 'SIGKILL'), 2_000).unref();

function note(what: 'start' | 'end' | 'fail', context: TaskContext): void {
  writeSync(ledger, `${what} ${context.id} ${context.attempt} ${worker} ${Date.now()}\n`);
}

/** Runs the work between the two lines of the ledger. */
async function noted<T>(work: () => T | Promise<T>): Promise<T> {
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

export const app = createApp({ name: 'drills', defaultQueue: 'drill' });

/** Takes so long and answers with the label of the worker that ran it. Deaf to its signal: it always runs to its end. */
export const append = app.fn('drill.append', (ms: number) =>
  noted(async () => {
    if (ms > 0) await pause(ms);
    return worker;
  }),
);

/** Blocks the loop of its executor. */
export const block = app.fn('drill.block', (ms: number) =>
  noted(() => {
    const end = performance.now() + ms;
    while (performance.now() < end);
    return worker;
  }),
);

/** Fails the first `times` tries. */
export const flaky = app.fn(
  'drill.flaky',
  (times: number) =>
    noted(() => {
      if (taskContext().attempt <= times) throw new Error(`not yet: try ${taskContext().attempt} of ${times + 1}`);
      return worker;
    }),
  { retry: { max: 10, backoff: 'exponential', base: '100ms', cap: '1s', jitter: 'full' } },
);

/** Takes its whole process with it, as a crash in native code does; never ends. */
export const killer = app.fn('drill.killer', async (afterMs: number) => {
  note('start', taskContext());
  await pause(afterMs);
  process.kill(process.pid, 'SIGKILL');
  await pause(60_000);
});
