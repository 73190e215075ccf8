/** Our client against a real Celery worker. */
import { createApp, type RemoteTask } from 'lovage';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hasCelery, startPythonWorker } from '../support/celery.js';
import { type Fleet, type FleetName, openFleet, ourResults } from './fleet.js';

const VERSIONS = (['5.2', '5.6'] as const).filter((version) => hasCelery(version) || process.env.CI);
const CASES = (['redis', 'rabbitmq with rpc results', 'rabbitmq with redis results'] as const).flatMap((name) =>
  VERSIONS.map((version) => [name, version] as const),
);

describe.each<readonly [FleetName, '5.2' | '5.6']>(CASES)('%s, Celery %s', (name, version) => {
  let fleet: Fleet;
  let worker: Awaited<ReturnType<typeof startPythonWorker>>;
  let app: ReturnType<typeof createApp>;
  // The rest parameter of `remote` depends on A, which is open here; positional is what every call below means.
  const remote = <A extends readonly unknown[], R>(task: string) =>
    app.remote<readonly unknown[], R>(`py.${task}`, { queue: 'python' }) as unknown as RemoteTask<A, R>;
  beforeAll(async () => {
    fleet = await openFleet(name);
    worker = await startPythonWorker(version, fleet.broker, fleet.results);
    app = createApp({ name: 'client', broker: fleet.broker, results: ourResults(fleet) });
  }, 90_000);
  afterAll(async () => {
    await app?.close();
    await worker?.stop();
    await fleet?.close();
  });

  test('calls by position and by keyword', async () => {
    expect(await (await remote<[number, number], number>('add').send(2, 3)).result({ timeout: '20s' })).toBe(5);
    const byKeyword = app.remote<{ x: number; y: number }, number>('py.add', { queue: 'python', by: 'keyword' });
    expect(await (await byKeyword.send({ x: 4, y: 5 })).result({ timeout: '20s' })).toBe(9);
  });

  test('values come back as they went, with unicode and huge integers', async () => {
    const echo = remote<readonly unknown[], { args: unknown[] }>('echo');
    const args = ['žluťoučký 🐎', 2n ** 70n, [1.5, null, true], { a: { b: [] } }];
    expect((await (await echo.send(...args)).result({ timeout: '20s' })).args).toEqual(args);
  });

  test('dates and bytes survive to Celery 5.6', async () => {
    if (version === '5.2')
      return expect(
        (await (await remote<[string], { args: unknown[] }>('echo').send('x')).result({ timeout: '20s' })).args,
      ).toEqual(['x']);
    const args = [new Date('2026-01-02T03:04:05.678Z'), new Uint8Array([0, 255, 1])];
    expect(
      (await (await remote<readonly unknown[], { args: unknown[] }>('echo').send(...args)).result({ timeout: '20s' })).args,
    ).toEqual(args);
  });

  test('a failure has the type, message and traceback of Python', async () => {
    const handle = await remote<[string], never>('fail').send('boom');
    await expect(handle.result({ timeout: '20s' })).rejects.toMatchObject({
      code: 'E_TASK_FAILED',
      type: 'ValueError',
      message: expect.stringContaining('boom'),
      traceback: expect.stringContaining('Traceback (most recent call last)'),
    });
  });

  test('retries of a Python task end in its result', async () => {
    const handle = await remote<[string, number], { tries: number }>('flaky').send('k', 2);
    expect(await handle.result({ timeout: '20s' })).toMatchObject({ tries: 3 });
  });

  test('countdown, priority and headers arrive', async () => {
    const startedMs = Date.now();
    const handle = await remote<[], Record<string, unknown>>('request')
      .with({ countdown: '1s', priority: 7, headers: { tenant: 'a' } })
      .send();
    const request = await handle.result({ timeout: '20s' });
    expect(Date.now() - startedMs).toBeGreaterThanOrEqual(990);
    expect(request).toMatchObject({ id: handle.id, priority: name === 'redis' ? 2 : 7 });
  });

  test('a megabyte goes and comes back', async () => {
    const big = 'é'.repeat(400_000);
    expect((await (await remote<[string], { args: string[] }>('echo').send(big)).result({ timeout: '20s' })).args[0]).toBe(big);
  });

  test('progress of a Python task is seen on the way', async () => {
    const handle = await remote<[number], number>('progress').send(4);
    const seen: unknown[] = [];
    const done = handle.result({ timeout: '20s' });
    const poll = setInterval(
      () =>
        void handle.status().then(
          (status) => seen.push(status.info),
          () => {},
        ),
      30,
    );
    expect(await done).toBe(4);
    clearInterval(poll);
    expect(seen).toContainEqual(expect.objectContaining({ total: 4 }));
  });

  test('an unknown task fails as NotRegistered', async () => {
    const handle = await remote<[], never>('nobody').send();
    await expect(handle.result({ timeout: '20s' })).rejects.toMatchObject({ type: 'NotRegistered' });
  });
});
