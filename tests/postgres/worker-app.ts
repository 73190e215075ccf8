/** Tasks for workers whose results are in PostgreSQL; what runs is noted in a file. */
import { appendFileSync, rmSync } from 'node:fs';
import { createApp, taskContext } from 'lovage';
import * as z from 'zod';

const { LOVAGE_TEST_BROKER: broker, LOVAGE_TEST_RESULTS: results, LOVAGE_TEST_LEDGER: ledger } = process.env;

export const app = createApp({ name: 'postgres', ...(broker ? { broker } : {}), ...(results ? { results } : {}) });

const note = (line: string): void => {
  if (ledger) appendFileSync(ledger, `${line}\n`);
};

export const add = app.fn('pg.add', (x: number, y: number): number => x + y);

/** Fails until its last try. */
export const flaky = app.fn(
  'pg.flaky',
  (): number => {
    const { attempt, maxAttempts } = taskContext();
    note(`flaky ${attempt}`);
    if (attempt < maxAttempts) throw new Error('not yet');
    return attempt;
  },
  { retry: { max: 2, backoff: 'fixed', base: '50ms', jitter: 'none' } },
);

/** A part of a chord; the one that finds its order in the folder kills its worker. */
export const part = app.fn('pg.part', (nth: number): number => {
  note(`part ${nth}`);
  try {
    rmSync(`${ledger}.kill-${nth}`);
  } catch {
    return nth;
  }
  process.kill(process.pid, 'SIGKILL');
  return nth;
});

export const body = app.fn('pg.body', (numbers: number[]): number => {
  note('body');
  return numbers.reduce((total, number) => total + number, 0);
});

/** Runs its first step once, however often it is tried. */
export const stepping = app.task({
  name: 'pg.stepping',
  input: z.object({}),
  retry: { max: 1, backoff: 'fixed', base: '50ms', jitter: 'none' },
  run: async (_input, ctx) => {
    const first = await ctx.step('first', async () => {
      note('step');
      return 41;
    });
    if (ctx.attempt === 1) throw new Error('once more');
    return first + 1;
  },
});
