/** Types of calls: what can be sent, what comes back, and what must not compile. Compiled by `types.test.ts`, never run. */
import { createApp, type PublishError, SendManyError, type TaskHandle, taskContext, type WorkerOptions } from 'lovage';
import * as z from 'zod';
import type { Equal, Expect } from './equal.js';

const app = createApp();
const add = app.fn('math.add', (x: number, y: number) => x + y);
const greet = app.fn('greet', (name: string, greeting?: string) => `${greeting ?? 'hello'} ${name}`);
const sync = app.task({
  name: 'sync',
  input: z.object({ id: z.string(), at: z.date().optional() }),
  run: ({ id }) => ({ id, at: new Date() }),
});
const score = app.remote<[doc: string], { value: number }>('ml.score');

const handle = await add.send(1, 2);
export type Handle = Expect<Equal<typeof handle, TaskHandle<number>>>;
export const three: number = await handle.result({ timeout: '10s' });
export const at: Date = (
  await (await sync.send({ id: '1', at: new Date() })).result({ timeout: '5s', signal: new AbortController().signal })
).at;
export const value: number = (await (await score.send('d')).result({ timeout: '1m' })).value;
export const inline: number = await add.run(1, 2);
export const known: TaskHandle<string> = app.handle<string>('id');
await greet.send('ann');
await greet.send('ann', 'hi');
await sync
  .with({ countdown: '5m', priority: 7, expires: '1h', id: 'a', queue: 'q', headers: { tenant: 'x', hops: 1 }, timeout: '2s' })
  .send({ id: '1' });
await sync
  .with({ eta: new Date(), expires: new Date(), ignoreResult: true, softTimeLimit: '1s', timeLimit: '2s' })
  .send({ id: '1' });
const many: TaskHandle<number>[] = await add.sendMany([{ args: [1, 2] }, { args: [3, 4], options: { priority: 1 } }]);
await add.with({ timeout: '1m' }).sendMany([{ args: [1, 2] }]);
await sync.sendMany([{ args: [{ id: '1' }] }]);
export const wasSent: boolean = !(await add.with({ dedupe: { key: 'k', for: '10m' } }).send(1, 2)).deduplicated;
await add.with({ dedupe: { key: 'k', for: '10m', onConflict: 'reject' } }).send(1, 2);
await add.sendMany([{ args: [1, 2], options: { dedupe: { key: 'k', for: '1d', onConflict: 'return-existing' } } }]);
const { send } = add;
await send(many.length, 1);

// @ts-expect-error a number is asked for
add.send('1', 2);
// @ts-expect-error one argument is missing
add.send(1);
// @ts-expect-error one argument too many
add.send(1, 2, 3);
// @ts-expect-error a misspelt field
sync.send({ idd: '1' });
// @ts-expect-error a wrong field
sync.send({ id: 1 });
// @ts-expect-error the wrong type of an optional argument
greet.send('ann', 5);
// @ts-expect-error a row of the wrong type
add.sendMany([{ args: [1, '2'] }]);
// @ts-expect-error the deadline is that of the whole call
add.sendMany([{ args: [1, 2], options: { timeout: '1s' } }]);
// @ts-expect-error a dedupe key holds for a time
add.with({ dedupe: { key: 'k' } });
// @ts-expect-error a duration has a unit
add.with({ dedupe: { key: 'k', for: 600 } });
// @ts-expect-error there is no such way out
add.with({ dedupe: { key: 'k', for: '10m', onConflict: 'replace' } });
// @ts-expect-error result() needs a timeout
handle.result();
// @ts-expect-error result() needs a timeout
handle.result({});
// @ts-expect-error a duration has a unit
handle.result({ timeout: 5000 });
// @ts-expect-error the result is a number
export const text: string = await handle.result({ timeout: '1s' });
// @ts-expect-error a number without unit
add.with({ countdown: 5 });
// @ts-expect-error an instant is a Date
add.with({ eta: '2026-01-01' });
// @ts-expect-error an unknown option
add.with({ countdonw: '5m' });
// @ts-expect-error headers are plain values
add.with({ headers: { user: { id: 1 } } });
// @ts-expect-error a handle must be awaited
add.send(1, 2).result({ timeout: '1s' });
// @ts-expect-error handles do not pretend to be promises
handle.then(() => {});

try {
  await add.sendMany([]);
} catch (error) {
  if (error instanceof SendManyError) {
    for (const row of error.results)
      if (row.status === 'failed') (row.error as PublishError).outcome satisfies 'not-sent' | 'unknown';
  }
}

app.onStart(async (scope) => scope.logger.info({}, 'ready'));
taskContext().progress(1, 2, 'note');
export const again: Error = taskContext().retry({ in: '60s', because: new Error('busy') });
// @ts-expect-error a duration has a unit
taskContext().retry({ in: 60 });
// @ts-expect-error the context cannot be changed
taskContext().id = 'x';

export const options: WorkerOptions[] = [
  { queues: { celery: 40, slow: 10 }, pool: 'threads', threads: 2, module: import.meta.url, grace: '25s' },
  { queues: ['a', 'b'], pool: 'inline' },
  { queues: 'a:1,b' },
  // @ts-expect-error no such pool
  { pool: 'gevent' },
];
export async function scoped(): Promise<void> {
  await using worker = await app.worker({ pool: 'inline' });
  await worker.stats();
}
