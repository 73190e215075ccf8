/** Retry policies as tasks and apps have them, run to their end on the memory broker. */
import { expect, test } from 'vitest';
import { createApp, NonRetryableError } from '../index.js';
import { memoryApp } from '../testing/index.js';
import type { RetryOptions } from './retry-policy.js';

const POLICY: RetryOptions = { max: 2, backoff: 'fixed', base: '10s', jitter: 'none' };

test("the app's policy is that of tasks that name none; a task's own counts before it, false too", async () => {
  const app = createApp({ name: 'defaults', retry: POLICY });
  const tries = { plain: 0, own: 0, none: 0 };
  const plain = app.fn('plain', (): number => {
    tries.plain += 1;
    throw new Error('no');
  });
  const own = app.fn(
    'own',
    (): number => {
      tries.own += 1;
      throw new Error('no');
    },
    { retry: { ...POLICY, max: 4 } },
  );
  const none = app.fn(
    'none',
    (): number => {
      tries.none += 1;
      throw new Error('no');
    },
    { retry: false },
  );
  await using memory = await memoryApp(app);
  for (const task of [plain, own, none]) await task.send();
  await memory.advance('5m');
  expect(tries).toEqual({ plain: 3, own: 5, none: 1 });
});

test('the policy of an app is checked as that of a task', () => {
  expect(() => createApp({ retry: { tries: 3 } as RetryOptions })).toThrow(
    expect.objectContaining({ code: 'E_CONFIG_UNKNOWN_KEY' }),
  );
  // the compiler refuses a number; plain JavaScript does not
  expect(() => createApp({ retry: 3 as unknown as boolean })).toThrow(expect.objectContaining({ code: 'E_CONFIG_TYPE' }));
});

test('onExhausted is called once, after the last try and before onFailure, and not for errors that are not retried', async () => {
  const app = createApp({ name: 'exhausted', retry: POLICY });
  const heard: string[] = [];
  const hooks = {
    onRetry: () => heard.push('retry'),
    onExhausted: (error: unknown) => heard.push(`exhausted ${(error as Error).message}`),
    onFailure: () => heard.push('failure'),
  };
  const failing = app.fn(
    'failing',
    (): number => {
      throw new Error('down');
    },
    hooks,
  );
  const hopeless = app.fn(
    'hopeless',
    (): number => {
      throw new NonRetryableError('never');
    },
    hooks,
  );
  await using memory = await memoryApp(app);
  await failing.send();
  await memory.advance('5m');
  expect(heard).toEqual(['retry', 'retry', 'exhausted down', 'failure']);
  heard.length = 0;
  await hopeless.send();
  await memory.drain();
  expect(heard).toEqual(['failure']);
});

test('an onExhausted hook that throws changes nothing', async () => {
  const app = createApp({ name: 'hook', retry: { ...POLICY, max: 0 } });
  const task = app.fn(
    'failing',
    (): number => {
      throw new RangeError('down');
    },
    {
      onExhausted: () => {
        throw new Error('the hook');
      },
    },
  );
  await using memory = await memoryApp(app);
  const handle = await task.send();
  await memory.drain();
  await expect(handle.result({ timeout: '1s' })).rejects.toMatchObject({ type: 'RangeError' });
});

test('Retry-After of an error delays the next try beyond the cap of the policy, and not longer', async () => {
  const app = createApp({ name: 'after', retry: { max: 1, backoff: 'fixed', base: '1s', cap: '1s', jitter: 'none' } });
  let tries = 0;
  const task = app.fn('call', (): number => {
    tries += 1;
    if (tries === 1) throw Object.assign(new Error('429'), { response: { headers: new Headers({ 'retry-after': '90' }) } });
    return tries;
  });
  await using memory = await memoryApp(app);
  const handle = await task.send();
  await memory.advance('89s');
  expect(tries).toBe(1);
  await memory.advance('1s');
  expect(tries).toBe(2);
  expect(await handle.result({ timeout: '1s' })).toBe(2);
});

test('errors named in throws are logged in one line, without a stack', async () => {
  const lines: { readonly level: string; readonly fields: Record<string, unknown> }[] = [];
  const note = (level: string) => (fields: object) => lines.push({ level, fields: fields as Record<string, unknown> });
  const logger = { debug() {}, info() {}, warn: note('warn'), error: note('error'), child: () => logger };
  const app = createApp({ name: 'throws' });
  const task = app.fn(
    'lookup',
    (known: boolean): number => {
      throw known ? new NonRetryableError('no such row') : new Error('surprise');
    },
    { throws: NonRetryableError },
  );
  await using memory = await memoryApp(app, { logger });
  await task.send(true);
  await memory.drain();
  expect(lines.map(({ level, fields }) => [level, fields['error'], 'traceback' in fields])).toEqual([
    ['warn', 'NonRetryableError: no such row', false],
  ]);
  await task.send(false);
  await memory.drain();
  expect(lines[1]).toMatchObject({ level: 'error', fields: { traceback: expect.stringContaining('surprise') } });
});
