/** Tasks of workflows that note when they begin and end, and kill their own worker when they are told to. */
import { appendFileSync, rmSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { chain, createApp, NonRetryableError, taskContext } from 'lovage';

const { LOVAGE_TEST_BROKER: broker, LOVAGE_TEST_LEDGER: ledger } = process.env;

export const app = createApp({ name: 'process', ...(broker ? { broker } : {}) });

const note = (line: string): void => {
  if (ledger) appendFileSync(ledger, `${line}\n`);
};

const die = (): void => void process.kill(process.pid, 'SIGKILL');

/** The first who takes this order dies of it, as by `kill -9`. */
function dieIfTold(when: string): void {
  try {
    rmSync(`${ledger}.${when}`);
  } catch {
    return; // no such order, or another has taken it
  }
  die();
}

/** Adds its number in a place of its own, so that the sum tells which steps went into it. */
export const step = app.fn('p.step', (sum: number, nth: number): number => {
  const { id } = taskContext();
  note(`began ${nth} ${id}`);
  dieIfTold(`began-${nth}`);
  note(`ended ${nth} ${id}`);
  dieIfTold(`ended-${nth}`);
  return sum + nth * 10 ** nth;
});

/** The callback of the last step. */
export const last = app.fn('p.last', (sum: number): null => {
  note(`last ${sum}`);
  return null;
});

/** A part of a chord. */
export const part = app.fn('p.part', async (nth: number, delayMs: number): Promise<number> => {
  note(`part ${nth}`);
  dieIfTold(`began-${nth}`);
  await wait(delayMs);
  dieIfTold(`ended-${nth}`);
  return nth;
});

/** A part that fails. */
export const fail = app.fn('p.fail', (nth: number): number => {
  note(`failed ${nth}`);
  throw new NonRetryableError('as told');
});

/** The body of a chord. */
export const body = app.fn('p.body', (numbers: number[]): number => {
  const sum = numbers.reduce((total, number) => total + number, 0);
  note(`body ${sum}`);
  dieIfTold('began-body');
  dieIfTold('ended-body');
  return sum;
});

/** A part that no worker survives; it gives the worker the time to say that it is ready. */
export const poison = app.fn('p.poison', async (): Promise<number> => {
  note('poison');
  await wait(300);
  die();
  return 0;
});

/** The errback of a chord's body. */
export const alert = app.fn('p.alert', (failedId: string): null => {
  note(`alert ${failedId} ${taskContext().id}`);
  dieIfTold('began-alert');
  return null;
});

/** Gives its place to a chain. */
export const swap = app.fn('p.swap', (nth: number): number => {
  note('swap');
  dieIfTold('began-swap');
  throw taskContext().replace(chain(step.si(0, 1), step.s(nth)));
});
