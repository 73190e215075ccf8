/** Tasks whose runs the engine has to end. */
import { appendFileSync } from 'node:fs';
import { createApp } from 'lovage';

const { LOVAGE_TEST_BROKER: broker, LOVAGE_TEST_LEDGER: ledger } = process.env;

export const app = createApp({ name: 'ends', ...(broker ? { broker } : {}) });

/** Never yields. */
export const spin = app.fn(
  'e.spin',
  (): number => {
    for (;;);
  },
  { timeLimit: '1s' },
);

/** Takes its executor along; acked before it ran, so nobody starts it again. */
export const die = app.fn(
  'e.die',
  (): number => {
    process.kill(process.pid, 'SIGKILL');
    return 0;
  },
  { ack: 'early' },
);

export const add = app.fn('e.add', (x: number, y: number): number => x + y);

export const sum = app.fn('e.sum', (numbers: number[]): number => numbers.reduce((total, number) => total + number, 0));

export const alert = app.fn('e.alert', (failedId: string): null => {
  if (ledger) appendFileSync(ledger, `alert ${failedId}\n`);
  return null;
});
