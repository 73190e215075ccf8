/**
 * Chains, callbacks and errbacks that cross the languages, in both directions: the next step, its result and a failure go
 * wherever the step before ran.
 *
 * Callbacks and errbacks leave a line in a file: with `rpc` results they have no address to answer to, in Celery as here, because
 * whoever sent the workflow does not know their ids. So only where results are stored are theirs read too.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chain, createApp } from 'lovage';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hasCelery, type PythonCanvas, PythonClient, type PythonReply, startPythonWorker } from '../support/celery.js';
import { until } from '../worker/harness.js';
import { type Fleet, type FleetName, type OurWorker, openFleet, ourResults, startOurWorker } from './fleet.js';

const VERSIONS = (['5.2', '5.6'] as const).filter((version) => hasCelery(version) || process.env.CI);
const SOON = { timeout: '20s' } as const;

interface Noted {
  readonly id: string;
  readonly args: readonly unknown[];
  readonly parentId: string | null;
  readonly rootId: string;
}

/** A step for a Python client. */
const step = (task: string, args: readonly unknown[] = [], more: { immutable?: true } = {}): PythonCanvas => ({
  task,
  args,
  options: { queue: task.startsWith('py.') ? 'python' : 'interop' },
  ...more,
});
const note = (...args: readonly unknown[]): PythonCanvas => step('interop.note', args);

describe.each<FleetName>(['redis', 'rabbitmq with rpc results', 'rabbitmq with redis results'])('%s', (name) => {
  const keepsResults = name !== 'rabbitmq with rpc results';
  const folder = mkdtempSync(join(tmpdir(), 'lovage-interop-canvas-'));
  const ledger = join(folder, 'ledger');
  let fleet: Fleet;
  let worker: OurWorker;
  beforeAll(async () => {
    fleet = await openFleet(name);
    process.env.INTEROP_LEDGER = ledger;
    worker = await startOurWorker(fleet, ['--concurrency', '20'], 'tests/interop/canvas-app.ts');
  }, 90_000);
  afterAll(async () => {
    await worker?.stop();
    await fleet?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** What callbacks and errbacks of this workflow wrote. */
  function notedBy(rootId: string): Noted[] {
    try {
      const lines = readFileSync(ledger, 'utf8').split('\n').filter(Boolean);
      return lines.map((line) => JSON.parse(line) as Noted).filter((line) => line.rootId === rootId);
    } catch {
      return []; // nobody wrote yet
    }
  }

  describe.each(VERSIONS)('Celery %s', (version) => {
    let client: PythonClient;
    let theirs: Awaited<ReturnType<typeof startPythonWorker>>;
    let app: ReturnType<typeof createApp>;
    beforeAll(async () => {
      theirs = await startPythonWorker(version, fleet.broker, fleet.results);
      client = new PythonClient(version, fleet.broker, fleet.results);
      expect(await client.start()).toContain(version);
      app = createApp({ name: 'client', broker: fleet.broker, results: ourResults(fleet) });
    }, 90_000);
    afterAll(async () => {
      await app?.close();
      await client?.close();
      await theirs?.stop();
    });

    const run = (canvas: PythonCanvas): Promise<PythonReply> => client.ask({ canvas });
    const add = () => app.remote<[x: number, y: number], number>('interop.add', { queue: 'interop' });
    const addInPython = () => app.remote<[x: number, y: number], number>('py.add', { queue: 'python' });

    describe('from a Python client', () => {
      test('a chain of three tasks of ours gives each the result before it', async () => {
        const reply = await run({ chain: [step('interop.add', [1, 2]), step('interop.add', [3]), step('interop.add', [4])] });
        expect(reply).toMatchObject({ state: 'SUCCESS', result: 10 });
        expect(new Set(reply.steps).size).toBe(3);
        expect(reply.steps?.[2]).toBe(reply.id);
        if (!keepsResults) return;
        for (const id of reply.steps ?? []) expect(await client.ask({ state: id })).toMatchObject({ state: 'SUCCESS' });
      });

      test('an immutable step of a chain takes nothing from before it', async () => {
        const last = step('interop.echo', ['alone'], { immutable: true });
        expect(await run({ chain: [step('interop.add', [1, 2]), last] })).toMatchObject({
          state: 'SUCCESS',
          result: { args: ['alone'], kwargs: {} },
        });
      });

      test('a chain goes from us to Python and back', async () => {
        const reply = await run({ chain: [step('interop.add', [1, 2]), step('py.add', [30]), step('interop.add', [400])] });
        expect(reply).toMatchObject({ state: 'SUCCESS', result: 433 });
      });

      test('a step that is tried again goes on with the chain when it succeeds', async () => {
        const flaky = step('interop.flaky', [`chain-${version}-${name}`, 1], { immutable: true });
        expect(await run({ chain: [step('interop.add', [1, 2]), flaky, step('interop.echo')] })).toMatchObject({
          state: 'SUCCESS',
          result: { args: [{ tries: 2 }] },
        });
      });

      test('a callback of ours gets the result of our task, and the errback beside it is not called', async () => {
        const reply = await run({ ...step('interop.add', [2, 3]), link: [note('linked')], link_error: [note('failed')] });
        expect(reply).toMatchObject({ state: 'SUCCESS', result: 5 });
        await until(() => notedBy(reply.id).length > 0, 'the callback has run');
        const noted = notedBy(reply.id);
        expect(noted).toMatchObject([{ args: [5, 'linked'], parentId: reply.id }]);
        if (!keepsResults) return;
        await expect
          .poll(() => client.ask({ state: noted[0]?.id ?? '' }), { timeout: 10_000 })
          .toMatchObject({ state: 'SUCCESS', info: [5, 'linked'] });
      });

      test('a callback of ours gets the result of a Python task', async () => {
        const reply = await run({ ...step('py.add', [2, 3]), link: [note('linked')] });
        expect(reply).toMatchObject({ state: 'SUCCESS', result: 5 });
        await until(() => notedBy(reply.id).length > 0, 'the callback has run');
        expect(notedBy(reply.id)).toMatchObject([{ args: [5, 'linked'], parentId: reply.id }]);
      });

      test.each(['interop.fail', 'py.fail'])('an errback of ours gets the id of %s, which failed', async (task) => {
        const reply = await run({ ...step(task, ['boom']), link: [note('linked')], link_error: [note('failed')] });
        expect(reply).toMatchObject({ state: 'FAILURE', error: { type: 'ValueError', text: 'boom' } });
        await until(() => notedBy(reply.id).length > 0, 'the errback has run');
        const noted = notedBy(reply.id);
        expect(noted).toMatchObject([{ args: [reply.id, 'failed'], parentId: reply.id }]);
        if (!keepsResults) return;
        await expect
          .poll(() => client.ask({ state: noted[0]?.id ?? '' }), { timeout: 10_000 })
          .toMatchObject({ state: 'SUCCESS' });
      });

      test.each(['interop.fail', 'py.fail'])(
        'a chain whose middle step %s fails has that failure as its result',
        async (task) => {
          const failing = step(task, ['boom'], { immutable: true });
          const reply = await run({
            chain: [step('interop.add', [1, 2]), failing, step('interop.add', [1]), step('interop.add', [1])],
            link_error: [note('failed')],
          });
          expect(reply).toMatchObject({ error: { type: 'ValueError', text: 'boom' } });
          const [first, failed, third] = reply.steps as string[];
          await until(() => notedBy(first as string).length > 0, 'the errback has run');
          expect(notedBy(first as string)).toMatchObject([{ args: [failed, 'failed'], parentId: failed }]);
          if (!keepsResults) return;
          for (const id of [failed, third, reply.id])
            expect(await client.ask({ state: id as string })).toMatchObject({ state: 'FAILURE' });
        },
      );

      test('a group at the end of a chain runs, each member with the result before it', async () => {
        const group: PythonCanvas = { group: [step('interop.add', [10]), step('interop.add', [20])] };
        const reply = await run({ chain: [step('interop.add', [1, 2]), group] });
        expect(reply.result).toEqual([13, 23]);
        expect(reply.members).toHaveLength(2);
      });
    });

    describe('from our client', () => {
      test('a chain goes from us to Python and back', async () => {
        const handle = await chain(add().si(1, 2), addInPython().s(30), add().s(400)).send();
        expect(await handle.result(SOON)).toBe(433);
      });

      test('a chain that begins and ends in Python, with options of its steps', async () => {
        const later = addInPython().with({ countdown: '300ms', headers: { tenant: 'a' } });
        const handle = await chain(addInPython().si(1, 2), add().s(30), later.s(400)).send();
        expect(await handle.result(SOON)).toBe(433);
      });

      test('a failure in Python is that of our handle, and our errback is called with its id', async () => {
        const fail = app.remote<[message: unknown], number>('py.fail', { queue: 'python' });
        const noteIt = app.remote<[failedId: string], unknown>('interop.note', { queue: 'interop' });
        const first = add().with({ id: `first-${version}-${name}` });
        const handle = await chain(first.si(1, 2), fail.s(), add().s(1)).onError(noteIt.s()).send();
        await expect(handle.result(SOON)).rejects.toMatchObject({
          code: 'E_TASK_FAILED',
          type: 'ValueError',
          message: expect.stringContaining('3'),
          traceback: expect.stringContaining('Traceback (most recent call last)'),
        });
        const rootId = `first-${version}-${name}`;
        await until(() => notedBy(rootId).length > 0, 'the errback has run');
        const [noted] = notedBy(rootId);
        expect(noted?.args).toEqual([noted?.parentId]);
        expect([rootId, handle.id]).not.toContain(noted?.parentId);
      });

      test('a Python worker runs the errback of our task', async () => {
        const fail = app.remote<[message: string], never>('interop.fail', { queue: 'interop' });
        const echo = app.remote<[failedId: string], unknown>('py.echo', { queue: 'python' });
        const handle = await fail.si('boom').onError(echo.s()).send();
        await expect(handle.result(SOON)).rejects.toMatchObject({ type: 'ValueError' });
        const ran = new RegExp(`Task py\\.echo\\[\\S+\\] succeeded in \\S+ \\{'args': \\['${handle.id}'\\]`);
        await until(() => ran.test(theirs.log()), 'Python has run it');
      });

      test('a Python worker runs the callback of our task', async () => {
        const echo = app.remote<[sum: number], unknown>('py.echo', { queue: 'python' });
        const sum = 123_456; // nothing else in that log is as large
        const handle = await add().si(sum, 1).link(echo.s()).send();
        expect(await handle.result(SOON)).toBe(sum + 1);
        await until(() => theirs.log().includes(`'args': [${sum + 1}]`), 'Python has run it');
      });
    });
  });
});
