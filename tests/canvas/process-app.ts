/** Steps of a chain that note when they begin and end, and kill their own worker when they are told to. */
import { appendFileSync, rmSync } from 'node:fs';
import { createApp, taskContext } from 'lovage';

const { LOVAGE_TEST_BROKER: broker, LOVAGE_TEST_LEDGER: ledger } = process.env;

export const app = createApp({ name: 'process', ...(broker ? { broker } : {}) });

const note = (line: string): void => {
  if (ledger) appendFileSync(ledger, `${line}\n`);
};

/** The first who takes this order dies of it, as by `kill -9`. */
function dieIfTold(when: string): void {
  try {
    rmSync(`${ledger}.${when}`);
  } catch {
    return; // no such order, or another has taken it
  }
  process.kill(process.pid, 'SIGKILL');
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
