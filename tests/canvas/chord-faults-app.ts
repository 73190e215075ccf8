/** The tasks of chords that meet a fault: each notes for which chord it ran, and a part kills its worker when it is told to. */
import { appendFileSync, rmSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { createApp, NonRetryableError } from 'lovage';

const { LOVAGE_TEST_BROKER: broker, LOVAGE_TEST_RESULTS: results, LOVAGE_TEST_LEDGER: ledger } = process.env;

export const app = createApp({ name: 'chord-faults', ...(broker && { broker }), ...(results && { results }) });

const note = (line: string): void => {
  if (ledger) appendFileSync(ledger, `${line}\n`);
};

const die = (): void => void process.kill(process.pid, 'SIGKILL');

/** The first who takes this order dies of it. */
function dieIfTold(order: string): void {
  try {
    rmSync(`${ledger}.${order}`);
  } catch {
    return; // no such order, or another has taken it
  }
  die();
}

export const part = app.fn('faults.part', async (chord: string, nth: number, delayMs: number): Promise<number> => {
  await wait(delayMs);
  note(`${chord} part ${nth}`);
  dieIfTold(`${chord}-${nth}`);
  return nth;
});

export const fail = app.fn('faults.fail', (chord: string, nth: number): number => {
  note(`${chord} part ${nth}`);
  throw new NonRetryableError('as told');
});

/** Kills its worker each time; it gives that the time to say that it is ready. */
export const poison = app.fn('faults.poison', async (chord: string): Promise<number> => {
  note(`${chord} poison ${process.pid}`);
  await wait(300);
  die();
  return 0;
});

export const body = app.fn('faults.body', (numbers: number[], chord: string): number => {
  const sum = numbers.reduce((total, number) => total + number, 0);
  note(`${chord} body ${sum}`);
  return sum;
});

export const alert = app.fn('faults.alert', (failedId: string, chord: string): null => {
  note(`${chord} alert ${failedId}`);
  return null;
});
