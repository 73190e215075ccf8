/** What a task sees is the same in every pool: one suite, run in each. What ends an executor is in `pool-losses.test.ts`. */
import type { Logger } from 'lovage';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Harness, openHarness, POOLS, type PoolName, until } from './harness.js';

describe.each<PoolName>(POOLS)('pool %s', (pool) => {
  let harness: Harness;
  beforeEach(async () => {
    harness = await openHarness(pool);
  });
  afterEach(async () => {
    await harness.close();
  });

  test('runs a task and stores its result', async () => {
    await harness.worker();
    const handle = await harness.tasks.add.send(2, 3);
    expect(await handle.result({ timeout: '10s' })).toBe(5);
    expect(await handle.state()).toBe('SUCCESS');
  });

  test('a result is there too for who asks late', async () => {
    await harness.worker();
    const handle = await harness.tasks.echo.send('x');
    await until(async () => (await handle.state()) === 'SUCCESS', 'the task has succeeded');
    expect(await handle.result({ timeout: '1s' })).toBe('x');
  });

  test('a failure reaches the sender with its type, message and stack', async () => {
    await harness.worker();
    const handle = await harness.tasks.fail.send('out of range');
    await expect(handle.result({ timeout: '10s' })).rejects.toMatchObject({
      code: 'E_TASK_FAILED',
      type: 'RangeError',
      message: expect.stringContaining('out of range'),
      traceback: expect.stringContaining('fixture-app'),
    });
  });

  test('a result that cannot travel is a failure that names its path', async () => {
    await harness.worker();
    const handle = await harness.tasks.bad.send();
    await expect(handle.result({ timeout: '10s' })).rejects.toMatchObject({
      code: 'E_TASK_FAILED',
      message: expect.stringContaining('result is a function'),
    });
  });

  test('a task is tried again as its policy says, and the attempts are counted', async () => {
    await harness.worker();
    const handle = await harness.tasks.flaky.send('k', 2);
    expect(await handle.result({ timeout: '10s' })).toEqual({ key: 'k', tries: 3 });
    expect(harness.ledger().filter((line) => line.startsWith('flaky'))).toEqual(['flaky k 1', 'flaky k 2', 'flaky k 3']);
  });

  test('retries end', async () => {
    await harness.worker();
    const handle = await harness.tasks.flaky.send('k', 99);
    await expect(handle.result({ timeout: '10s' })).rejects.toMatchObject({
      code: 'E_TASK_FAILED',
      message: expect.stringContaining('try 4'),
    });
    expect(harness.ledger().filter((line) => line.startsWith('flaky'))).toHaveLength(4);
  });

  test('an error that is not worth another try fails at once', async () => {
    await harness.worker();
    await expect((await harness.tasks.hopeless.send()).result({ timeout: '10s' })).rejects.toMatchObject({
      type: 'NonRetryableError',
    });
  });

  test('ctx.retry asks for another try without a policy', async () => {
    await harness.worker();
    expect(await (await harness.tasks.later.send()).result({ timeout: '10s' })).toBe(2);
  });

  test('the context tells id, name, queue, attempt and ancestry', async () => {
    await harness.worker();
    const handle = await harness.tasks.about.send();
    expect(await handle.result({ timeout: '10s' })).toEqual({
      id: handle.id,
      name: 't.about',
      queue: 'lovage',
      attempt: 1,
      maxAttempts: 1,
      rootId: handle.id,
      parentId: null,
      redelivered: false,
    });
  });

  test('a task sent from inside a task knows its parent', async () => {
    await harness.worker();
    const handle = await harness.tasks.parent.send();
    const childId = await handle.result({ timeout: '10s' });
    const child = harness.tasks.app.handle<Record<string, unknown>>(childId);
    expect(await child.result({ timeout: '10s' })).toMatchObject({ id: childId, parentId: handle.id, rootId: handle.id });
  });

  test('waiting for a result inside a task is refused at once', async () => {
    await harness.worker();
    const handle = await harness.tasks.waiter.send();
    await expect(handle.result({ timeout: '10s' })).rejects.toMatchObject({ message: expect.stringContaining('chain') });
  });

  test('progress can be read while the task runs', async () => {
    await harness.worker();
    const handle = await harness.tasks.progress.send(20);
    await until(async () => (await handle.state()) === 'PROGRESS', 'progress is seen');
    expect((await handle.status()).info).toMatchObject({ total: 20 });
    expect(await handle.result({ timeout: '10s' })).toBe(20);
  });

  test('a countdown is never early', async () => {
    await harness.worker();
    const startedMs = Date.now();
    const handle = await harness.tasks.echo.with({ countdown: '400ms' }).send('x');
    await handle.result({ timeout: '10s' });
    expect(Date.now() - startedMs).toBeGreaterThanOrEqual(399);
  });

  test('an expired task is not run, and says so', async () => {
    const handle = await harness.tasks.ran.with({ expires: '1ms' }).send('late');
    await new Promise((resolve) => setTimeout(resolve, 5));
    await harness.worker();
    await expect(handle.result({ timeout: '10s' })).rejects.toMatchObject({
      code: 'E_TASK_REVOKED',
      message: expect.stringContaining('expired'),
    });
    expect(harness.ledger()).not.toContain('ran late');
  });

  test('a task that nobody knows is put back for a while and parked in the end', async () => {
    const { app, add } = harness.tasks;
    await harness.worker({ unknownTaskPatience: '0s' });
    const handle = await app.remote<[], number>('nobody.knows').send();
    await expect(handle.result({ timeout: '10s' })).rejects.toMatchObject({ type: 'NotRegistered' });
    expect(await (await add.send(1, 1)).result({ timeout: '10s' })).toBe(2);
  });

  test('the soft limit aborts the signal', async () => {
    await harness.worker();
    await expect((await harness.tasks.limited.send()).result({ timeout: '10s' })).rejects.toMatchObject({
      message: expect.stringContaining('soft time limit'),
    });
  });

  test('the hard limit ends a task that does not listen', async () => {
    await harness.worker();
    await expect((await harness.tasks.deaf.send()).result({ timeout: '10s' })).rejects.toMatchObject({
      type: 'TimeLimitExceeded',
    });
  });

  test('Ignore and Reject end a task without a result', async () => {
    const worker = await harness.worker();
    const handles = [await harness.tasks.ignored.send(), await harness.tasks.rejected.send()];
    await until(async () => (await worker.stats()).received === 2 && (await worker.stats()).active === 0, 'both have ended');
    for (const handle of handles) expect(await handle.state()).toBe('PENDING');
  });

  test('a task that ignores results runs and stores nothing', async () => {
    await harness.worker();
    const handle = await harness.tasks.quiet.send('q');
    await until(() => harness.ledger().includes('ran q'), 'the task has run');
    await expect(handle.result({ timeout: '1s' })).rejects.toMatchObject({ code: 'E_RESULT_NOT_KEPT' });
  });

  test('sending again with the same id does not run a finished task twice', async () => {
    const worker = await harness.worker();
    const { ran } = harness.tasks;
    await (await ran.with({ id: 'once' }).send('once')).result({ timeout: '10s' });
    await ran.with({ id: 'once' }).send('once');
    await until(async () => (await worker.stats()).received === 2 && (await worker.stats()).active === 0, 'the second has ended');
    expect(harness.ledger().filter((line) => line === 'ran once')).toHaveLength(1);
  });

  test('a stop hands unfinished work back without burning an attempt', async () => {
    const worker = await harness.worker({ grace: '0s' });
    const handle = await harness.tasks.untilAborted.send('one');
    await until(() => harness.ledger().includes('began one'), 'the task has begun');
    await worker.close();
    expect((await worker.done).exitCode).toBe(0);
    await harness.worker();
    await until(() => harness.ledger().filter((line) => line === 'began one').length === 2, 'it has begun again');
    expect(await handle.state()).not.toBe('FAILURE');
  });

  test('onStart has ended before the first task of its executor, and onStop begins after the last', async () => {
    const worker = await harness.worker();
    const handles = await harness.tasks.where.sendMany(Array.from({ length: 20 }, () => ({ args: [20] as [number] })));
    await Promise.all(handles.map((handle) => handle.result({ timeout: '10s' })));
    // nobody waits for the spare
    const startedCount = (): number => harness.ledger().filter((line) => line.startsWith('start ')).length;
    if (pool === 'processes') await until(() => startedCount() === 3, 'the spare has started');
    await worker.close();
    const byExecutor = new Map<string, string>();
    for (const line of harness.ledger()) {
      const [what, who] = line.split(' ') as [string, string];
      byExecutor.set(who, (byExecutor.get(who) ?? '') + what[0]?.replace('s', what === 'stop' ? 'o' : 's'));
    }
    // s = start, e = enter, l = leave, o = stop; a spare has no tasks
    for (const life of byExecutor.values()) expect(life).toMatch(/^s[el]*o$/);
    const working = [...byExecutor.values()].filter((life) => life.length > 2);
    expect(working).toHaveLength(pool === 'threads' || pool === 'processes' ? 2 : 1);
    expect(byExecutor.size).toBe(working.length + (pool === 'processes' ? 1 : 0));
  });

  test("ctx.log writes to the worker's logger, with the task's id and name", async () => {
    const lines: { level: string; fields: Record<string, unknown>; message: string | undefined }[] = [];
    await harness.worker({ logger: collector(lines) });
    const handle = await harness.tasks.speak.send('hear me');
    await handle.result({ timeout: '10s' });
    const heard = (): typeof lines => lines.filter(({ message }) => message === 'hear me');
    await until(() => heard().length === 2, 'both lines are there');
    const [info, warn] = heard();
    const task = { id: handle.id, task: 't.speak' };
    expect(info).toMatchObject({ level: 'info', fields: { ...task, n: 1, list: [1, { a: 'b' }], big: 7n } });
    expect(warn).toMatchObject({ level: 'warn', fields: { ...task, part: 'x' } });
    const { err } = (warn as (typeof lines)[number]).fields;
    expect(err).toMatchObject({ name: 'RangeError', message: 'logged', code: 'E_OF_MINE' });
    expect((err as Error).stack).toContain('fixture-app');
  });

  test('eight megabytes of arguments, and of a result, pass', async () => {
    await harness.worker();
    const text = 'x'.repeat(8_000_000);
    const handle = await harness.tasks.bulk.send(text);
    const result = await handle.result({ timeout: '20s' });
    expect(result === text.toUpperCase()).toBe(true);
  });

  test('a task that is acked early is tried again too', async () => {
    await harness.worker();
    expect(await (await harness.tasks.early.send('e')).result({ timeout: '10s' })).toBe(3);
    expect(harness.ledger().filter((line) => line.startsWith('early'))).toEqual(['early e 1', 'early e 2', 'early e 3']);
  });

  test('500 tasks at once all end, each once', async () => {
    await harness.worker();
    const handles = await harness.tasks.ran.sendMany(
      Array.from({ length: 500 }, (_, index) => ({ args: [`n${index}`] as [string] })),
    );
    await Promise.all(handles.map((handle) => handle.result({ timeout: '20s' })));
    expect(new Set(harness.ledger().filter((line) => line.startsWith('ran'))).size).toBe(500);
    expect(harness.ledger().filter((line) => line.startsWith('ran'))).toHaveLength(500);
  });
});

describe.each<PoolName>(['async', 'threads', 'processes'])('pool %s keeps the engine apart', (pool) => {
  test('a task that spins far beyond its lease runs once', async () => {
    const harness = await openHarness(pool);
    try {
      await harness.worker({ lease: '1s' });
      await harness.worker({ lease: '1s' });
      const handle = await harness.tasks.spin.send(4_000);
      expect(await handle.result({ timeout: '15s' })).toBe(4_000);
      expect(harness.ledger().filter((line) => line.startsWith('spin'))).toHaveLength(1);
    } finally {
      await harness.close();
    }
  });
});

/** A logger that keeps what it is told, fields of its children included. */
function collector(lines: { level: string; fields: Record<string, unknown>; message: string | undefined }[], base = {}): Logger {
  const at =
    (level: string) =>
    (fields: object, message?: string): void =>
      void lines.push({ level, fields: { ...base, ...fields }, message });
  return {
    ...{ debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') },
    child: (fields) => collector(lines, { ...base, ...fields }),
  };
}
