/** The tasks of random workflows whose workers are killed: each takes a value, however nested, and gives a number. */
import { setTimeout as wait } from 'node:timers/promises';
import { createApp, NonRetryableError, type Outcome, taskContext } from 'lovage';

const { LOVAGE_TEST_BROKER: broker, LOVAGE_TEST_RESULTS: results } = process.env;

export const app = createApp({ name: 'faults', defaultQueue: 'faults', ...(broker && { broker }), ...(results && { results }) });

export type Value = number | readonly Value[];

export const total = (value: Value): number =>
  typeof value === 'number' ? value : value.reduce((sum: number, each) => sum + total(each), 0);

export const add = app.fn('f.add', async (value: Value, amount: number): Promise<number> => {
  await wait(5);
  return total(value) + amount;
});
export const flaky = app.fn(
  'f.flaky',
  (value: Value, amount: number): number => {
    if (taskContext().attempt === 1) throw new Error('not yet');
    return total(value) + amount;
  },
  { retry: { max: 3, base: '10ms' } },
);
export const fail = app.fn('f.fail', (_value: Value): number => {
  throw new NonRetryableError('as told');
});
/** What a part that did not succeed counts for. */
export const MISSING = 1_000;
/** The body of a chord that settles all. */
export const settle = app.fn('f.settle', (outcomes: readonly Outcome<Value>[], amount: number): number =>
  outcomes.reduce((sum, outcome) => sum + (outcome.status === 'fulfilled' ? total(outcome.value) : MISSING), amount),
);
/** Adds a part to the chord that it is a part of, which gives its amount once more. */
export const grow = app.fn('f.grow', async (value: Value, amount: number): Promise<number> => {
  await taskContext().addToChord(add.si(0, amount));
  return total(value) + amount;
});
/** Gives its place to two others. */
export const swap = app.fn('f.swap', (value: Value, amount: number): number => {
  throw taskContext().replace(add.si(total(value), 0).pipe(add.s(amount)));
});
