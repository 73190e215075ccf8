/**
 * Tasks that a Python Celery client can call, and the other way round: each shows one thing that must work between the
 * languages. Start it on the broker that both share:
 *
 *   lovage worker --app examples/interop/app.ts --broker redis://localhost:6379/0 --queues celery
 *
 * and call it from Python: app.send_task('interop.add', kwargs={'x': 2, 'y': 3}).get()
 */

import { setTimeout as wait } from 'node:timers/promises';
import { createApp, taskContext, type WireValue } from 'lovage';

export const app = createApp({ name: 'interop' });

/** By position, or by keyword: `params` gives the names. Integers beyond 2^53 arrive as bigint and stay exact. */
export const add = app.fn(
  'interop.add',
  async (x: number | bigint, y: number | bigint) =>
    typeof x === 'number' && typeof y === 'number' ? x + y : BigInt(x) + BigInt(y),
  { params: ['x', 'y'] },
);

/** Whatever comes goes back. */
export const echo = app.fn(
  'interop.echo',
  (...args: WireValue[]) => ({ args, kwargs: taskContext().kwargs as Record<string, WireValue> }),
  {
    params: ['...args', '**kwargs'],
  },
);

/** Python clients see a `ValueError` with this message, and the stack as its traceback. */
export const fail = app.fn(
  'interop.fail',
  (message: string): null => {
    throw Object.assign(new Error(message), { name: 'ValueError' });
  },
  { params: ['message'] },
);

/** Fails `times` times, each time retried after 0.2 s, at most 5 times. `key` only tells the calls apart. */
export const flaky = app.fn(
  'interop.flaky',
  (key: string, times: number) => {
    const { attempt } = taskContext();
    if (attempt <= times) throw new Error(`${key} fails for the ${attempt}. time of ${times}`);
    return { key, tries: attempt };
  },
  { params: ['key', 'times'], retry: { max: 5, backoff: 'fixed', base: '200ms', jitter: 'none' } },
);

/** Ends early when the worker stops or the soft time limit passes: then it runs again or fails, as the worker decides. */
export const sleep = app.fn(
  'interop.sleep',
  async (seconds: number) => {
    await wait(seconds * 1_000, undefined, { signal: taskContext().signal });
    return seconds;
  },
  { params: ['seconds'] },
);

/** State PROGRESS with `{ current, total }` every 0.3 s. */
export const progress = app.fn(
  'interop.progress',
  async (n: number) => {
    const context = taskContext();
    for (let current = 1; current <= n; current++) {
      context.progress(current, n);
      await wait(300, undefined, { signal: context.signal });
    }
    return n;
  },
  { params: ['n'] },
);
