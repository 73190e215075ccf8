/** Tasks of drill 8: they always fail. */
import { createApp } from 'lovage';
import { noted } from './noted.js';

export const app = createApp({ name: 'failing', defaultQueue: 'drill' });

function fail(): never {
  throw new Error('this never works');
}

export const always = app.fn('failing.always', () => noted(fail), { retry: true });
export const once = app.fn('failing.once', () => noted(fail));

/** First waits are drawn from 0 to this. */
export const BASE_S = 10;

/** Calls an API that is dead: nobody listens on the port. */
export const call = app.fn(
  'failing.call',
  (port: number) =>
    noted(async () => {
      await fetch(`http://127.0.0.1:${port}/`);
    }),
  { retry: { max: 1, backoff: 'exponential', base: `${BASE_S}s`, cap: '10m', jitter: 'full' } },
);
