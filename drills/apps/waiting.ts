/** Tasks of drill 7: one waits for another, one hands on instead. */
import { createApp, taskContext } from 'lovage';
import { noted } from './noted.js';

export const app = createApp({ name: 'waiting', defaultQueue: 'drill' });

/** What is waited for. */
export const double = app.fn('waiting.double', (x: number) => noted(() => x * 2));

/** Waits for another task while it holds the worker's only slot. */
export const inside = app.fn('waiting.inside', (x: number) =>
  noted(async () => {
    const handle = await double.with({ queue: taskContext().queue }).send(x);
    return (await handle.result({ timeout: '60s' })) + 1;
  }),
);

/** The same work without waiting: the second half is a task of its own, and gets what the first half made. */
export const second = app.fn('waiting.second', (doubled: number) => noted(() => doubled + 1));
export const first = app.fn('waiting.first', (x: number, id: string) =>
  noted(async () => {
    await second.with({ id, queue: taskContext().queue }).send(x * 2);
    return x * 2;
  }),
);
