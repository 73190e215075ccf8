/** The tasks of the drills, run by `lovage worker`. Each notes its start and its end in the ledger (`noted.ts`). */
import { createApp, taskContext } from 'lovage';
import { note, noted, pause, worker } from './noted.js';

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
