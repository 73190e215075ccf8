/** The tasks of the drill mixed-fleet. `mixed_python.py` has the same under the same names, so that either may run what lies in the shared queue. */
import { createApp } from 'lovage';
import { noted, pause } from './noted.js';

export const app = createApp({ name: 'mixed', defaultQueue: 'mixed' });

app.fn('mixed.add', (x: number, y: number) => noted(() => x + y), { params: ['x', 'y'] });
app.fn('mixed.sum', (numbers: number[]) => noted(() => numbers.reduce((total, number) => total + number, 0)));
app.fn(
  'mixed.fail',
  (message: string): Promise<null> =>
    noted(() => {
      throw Object.assign(new Error(message), { name: 'ValueError' });
    }),
);
app.fn('mixed.sleep', (seconds: number) =>
  noted(async () => {
    await pause(seconds * 1_000);
    return seconds;
  }),
);
