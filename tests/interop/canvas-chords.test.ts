/**
 * Groups and chords that cross the languages: either may send them, count their parts last, run their bodies, and end them when a
 * part fails. Only where results are stored: `rpc` results count no chords, in Celery as here.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chain, chord, createApp, group } from 'lovage';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hasCelery, type PythonCanvas, PythonClient, type PythonReply, startPythonWorker } from '../support/celery.js';
import { until } from '../worker/harness.js';
import { type Fleet, type FleetName, type OurWorker, openFleet, startOurWorker } from './fleet.js';

const VERSIONS = (['5.2', '5.6'] as const).filter((version) => hasCelery(version) || process.env.CI);
const SOON = { timeout: '20s' } as const;
const LANGUAGES = ['interop', 'py'] as const;
type Language = (typeof LANGUAGES)[number];

/** A part of a workflow, and those that only chords and lists need; see `client.py`. */
type Part =
  | PythonCanvas
  | { readonly chain: readonly Part[]; readonly link_error?: readonly Part[] }
  | { readonly group: readonly Part[] }
  | { readonly chord: readonly Part[]; readonly body: Part }
  | { readonly map: Part; readonly it: readonly unknown[]; readonly options: object }
  | { readonly starmap: Part; readonly it: readonly unknown[]; readonly options: object }
  | { readonly chunks: Part; readonly it: readonly unknown[]; readonly n: number; readonly options: object };

interface Reply extends PythonReply {
  /** Ids of a chord's parts. */
  readonly header?: readonly string[];
}

const QUEUES = { interop: 'interop', py: 'python' } as const;
const languageOf = (task: string): Language => (task.startsWith('py.') ? 'py' : 'interop');
const step = (task: string, args: readonly unknown[] = [], more: Pick<PythonCanvas, 'link_error'> = {}): PythonCanvas => ({
  ...{ task, args, options: { queue: QUEUES[languageOf(task)] } },
  ...more,
});
const note = (...args: readonly unknown[]): PythonCanvas => step('interop.note', args);
const sorted = (values: unknown): unknown[] => [...(values as number[]).flat(9)].sort((a, b) => Number(a) - Number(b));

interface Noted {
  readonly args: readonly unknown[];
}

describe.each<FleetName>(['redis', 'rabbitmq with redis results'])('%s', (name) => {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-interop-chords-'));
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

  /** How often an errback was called for this id. */
  function notedOf(id: string): number {
    try {
      const lines = readFileSync(ledger, 'utf8').split('\n').filter(Boolean);
      return lines.map((line) => JSON.parse(line) as Noted).filter(({ args }) => args[0] === id).length;
    } catch {
      return 0; // nobody wrote yet
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
      app = createApp({ name: 'client', broker: fleet.broker, results: fleet.results });
    }, 90_000);
    afterAll(async () => {
      await app?.close();
      await client?.close();
      await theirs?.stop();
    });

    const run = (canvas: Part): Promise<Reply> => client.ask({ canvas: canvas as PythonCanvas });
    const add = (language: Language) =>
      app.remote<[x: number, y: number], number>(`${language}.add`, { queue: QUEUES[language] });
    const sum = (language: Language) => app.remote<[numbers: number[]], number>(`${language}.sum`, { queue: QUEUES[language] });
    const echo = (language: Language) =>
      app.remote<[parts: unknown], { args: unknown[] }>(`${language}.echo`, { queue: QUEUES[language] });
    const fail = (language: Language) => app.remote<[message: string], number>(`${language}.fail`, { queue: QUEUES[language] });
    const noteIt = () => app.remote<[failedId: string], unknown>('interop.note', { queue: 'interop' });

    /** What a Python client sees of a task that failed; `get()` of a body would raise what its header raised. */
    async function failureOf(id: string): Promise<string> {
      await expect.poll(() => client.ask({ state: id }), { timeout: 10_000 }).toMatchObject({ state: 'FAILURE' });
      return String((await client.ask({ state: id })).info);
    }

    /** The errback was called once, and is not called again by what both workers still have to do. */
    async function notedOnce(id: string): Promise<void> {
      await until(() => notedOf(id) > 0, 'the errback has run');
      await Promise.all(LANGUAGES.map((language) => run(step(`${language}.add`, [1, 1]))));
      expect(notedOf(id)).toBe(1);
    }

    describe('from a Python client', () => {
      describe.each(LANGUAGES)('with a body in %s', (bodyIn) => {
        const body = step(`${bodyIn}.sum`);

        test('a chord of our tasks gives its body all results in order', async () => {
          const parts = [1, 2, 3].map((i) => step('interop.add', [i, i]));
          expect(await run({ chord: parts, body })).toMatchObject({ state: 'SUCCESS', result: 12 });
          expect((await run({ chord: parts, body: step(`${bodyIn}.echo`) })).result).toMatchObject({ args: [[2, 4, 6]] });
        });

        test.each(LANGUAGES)('a chord of parts in both languages, the last in %s, runs its body', async (lastIn) => {
          const slow = { interop: step('interop.sleep', [0.5]), py: step('py.sleep', [0.5]) }[lastIn];
          const parts = [step('interop.add', [1, 1]), step('py.add', [2, 2]), slow, step('interop.add', [3, 3])];
          expect(await run({ chord: parts, body: step(`${bodyIn}.echo`) })).toMatchObject({
            state: 'SUCCESS',
            result: { args: [[2, 4, 0.5, 6]] },
          });
        });

        test('a group between the tasks of a chain runs in both languages', async () => {
          const parallel: Part = { group: [step('interop.add', [1]), step('py.add', [2])] };
          const reply = await run({ chain: [step('py.add', [1, 1]), parallel, body, step('interop.add', [100])] });
          expect(reply).toMatchObject({ state: 'SUCCESS', result: 107 });
        });

        test.each(LANGUAGES)(
          'what follows a group at the beginning of a chain runs; the last of the group is in %s',
          async (lastIn) => {
            const slow = step(`${lastIn}.sleep`, [0.5]);
            const parallel: Part = { group: [step('interop.add', [1, 1]), step('py.add', [2, 2]), slow] };
            const after: Part = { group: [step('interop.add', [10]), step('py.add', [20])] };
            expect((await run({ chain: [parallel, body, after] })).result).toEqual([16.5, 26.5]);
            expect((await run({ chain: [parallel, body, step('py.add', [1]), step('interop.add', [1])] })).result).toBe(8.5);
          },
        );

        test('the parts of a chord may be chains', async () => {
          const parts: Part[] = [
            { chain: [step('interop.add', [1, 1]), step('py.add', [10])] },
            { chain: [step('py.add', [2, 2]), step('interop.add', [20])] },
            step('py.add', [3, 3]),
          ];
          expect(await run({ chord: parts, body })).toMatchObject({ state: 'SUCCESS', result: 12 + 24 + 6 });
        });

        test.each(LANGUAGES)('a part of a chord may be a group; the last part of all is in %s', async (lastIn) => {
          const slow = step(`${lastIn}.sleep`, [0.5]);
          const inner: Part = { group: [step('interop.add', [1, 1]), step('py.add', [2, 2])] };
          const reply = await run({ chord: [inner, step('interop.add', [3, 3]), slow], body: step(`${bodyIn}.echo`) });
          // Celery gives the results of a nested group in no fixed order
          const [results] = (reply.result as { args: unknown[] }).args;
          expect(sorted(results)).toEqual([0.5, 2, 4, 6]);
        });

        test('a chord may be a part of a chord', async () => {
          const inner: Part = { chord: [step('interop.add', [1, 1]), step('py.add', [2, 2])], body: step('interop.sum') };
          const theirInner: Part = { chord: [step('interop.add', [3, 3]), step('py.add', [4, 4])], body: step('py.sum') };
          expect(await run({ chord: [inner, theirInner, step('py.add', [5, 5])], body })).toMatchObject({
            state: 'SUCCESS',
            result: 30,
          });
        });

        test.each([
          ['interop', ['interop', 'py']],
          ['py', ['interop', 'interop']],
          ['interop', ['py', 'py']],
        ] as const)(
          'a part in %s that fails, beside parts in %j, fails the body and calls its errback once',
          async (failsIn, others) => {
            const parts = [step(`${failsIn}.fail`, ['boom']), ...others.map((other) => step(`${other}.add`, [1, 1]))];
            const reply = await run({ chord: parts, body: step(`${bodyIn}.sum`, [], { link_error: [note('failed')] }) });
            expect(await failureOf(reply.id)).toMatch(/^ChordError\("Dependency \S+ raised ValueError\('boom',?\)",?\)$/);
            expect(await failureOf(reply.id)).toContain(reply.header?.[0]);
            await notedOnce(reply.id);
          },
        );
      });

      test('a chord whose last part is a slow failure of Python’s ends too', async () => {
        const slow: Part = { chain: [step('py.sleep', [0.5]), { ...step('py.fail', ['boom']), immutable: true }] };
        const body = step('interop.sum', [], { link_error: [note('failed')] });
        const reply = await run({ chord: [step('interop.add', [1, 1]), step('interop.add', [2, 2]), slow], body });
        expect(await failureOf(reply.id)).toContain('boom');
        await notedOnce(reply.id);
      });

      test('a list is mapped in one task of ours, or in chunks', async () => {
        const options = { queue: 'interop' };
        const rows = [1, 2, 3, 4, 5].map((i) => [i, i]);
        expect((await run({ starmap: step('interop.add'), it: rows, options })).result).toEqual([2, 4, 6, 8, 10]);
        expect((await run({ map: step('interop.sum'), it: rows, options })).result).toEqual([2, 4, 6, 8, 10]);
        const cut = await run({ chunks: step('interop.add'), it: rows, n: 2, options });
        expect(cut.result).toEqual([[2, 4], [6, 8], [10]]);
        expect(cut.members).toHaveLength(3);
      });
    });

    describe('from our client', () => {
      test('Python reads the results of a group by the ids of its members', async () => {
        const handle = await group(add('interop').si(1, 1), add('py').si(2, 2), add('interop').si(3, 3)).send();
        expect(await handle.result(SOON)).toEqual([2, 4, 6]);
        const ids = handle.children.map(({ id }) => id);
        expect(await client.ask({ group_of: ids } as never)).toMatchObject({
          states: ['SUCCESS', 'SUCCESS', 'SUCCESS'],
          result: [2, 4, 6],
        });
      });

      describe.each(LANGUAGES)('with a body in %s', (bodyIn) => {
        test.each(LANGUAGES)(
          'a chord with parts in both languages, the last in %s, gives its body all results in order',
          async (lastIn) => {
            const slow = app.remote<[seconds: number], number>(`${lastIn}.sleep`, { queue: QUEUES[lastIn] });
            const parts = group(add('py').si(1, 1), slow.si(0.5), add('interop').si(2, 2), add('py').si(3, 3));
            const handle = await chord(parts, echo(bodyIn).s()).send();
            expect((await handle.result(SOON)).args).toEqual([[2, 0.5, 4, 6]]);
          },
        );

        test('chords nest, and their parts may be chains', async () => {
          const inner = chord(group(add('py').si(1, 1), add('interop').si(2, 2)), sum('py').s());
          const parts = group(
            inner,
            chain(add('interop').si(3, 3), add('py').s(10)),
            chain(add('py').si(4, 4), add('interop').s(20)),
          );
          const handle = await chain(parts, sum(bodyIn).s(), add('py').s(100), add('interop').s(1_000)).send();
          expect(await handle.result(SOON)).toBe(6 + 16 + 28 + 1_100);
        });

        test.each([
          ['py', 'interop'],
          ['py', 'py'],
          ['interop', 'py'],
        ] as const)(
          'a part in %s that fails, beside parts in %s, rejects the handle and calls the errback once',
          async (failsIn, othersIn) => {
            const parts = group([fail(failsIn).si('boom'), add(othersIn).si(1, 1), add(othersIn).si(2, 2)]);
            const handle = await chord(parts, sum(bodyIn).s()).onError(noteIt().s()).send();
            await expect(handle.result(SOON)).rejects.toMatchObject({
              code: 'E_TASK_FAILED',
              type: 'ChordError',
              message: expect.stringContaining('boom'),
            });
            await notedOnce(handle.id);
          },
        );
      });
    });

    test('a task of ours that replaces itself keeps its place in chains and chords of Python', { timeout: 60_000 }, async () => {
      const swap = step('interop.swap', [1]);
      expect(await run(swap)).toMatchObject({ result: 12 });
      expect(await run({ chain: [step('py.add', [1, 1]), step('interop.swap'), step('py.add', [100])] })).toMatchObject({
        result: 113,
      });
      expect(await run({ chord: [swap, step('py.add', [2, 2])], body: step('interop.sum') })).toMatchObject({ result: 16 });
      expect(await run({ chord: [swap, step('interop.add', [2, 2])], body: step('py.sum') })).toMatchObject({ result: 16 });
    });

    test('a chord of a client whose result backend cannot count is joined by us', { timeout: 60_000 }, async () => {
      // its own results are files that nobody else reads; our workers keep theirs in Redis
      const uncounted = new PythonClient(version, fleet.broker, `file://${folder}`);
      expect(await uncounted.start()).toContain(version);
      const sent = async (parts: readonly Part[], errbacks: readonly Part[]): Promise<string> => {
        const body = { ...step('interop.sum'), link_error: errbacks };
        const canvas = { chord: parts, body } as unknown as PythonCanvas;
        return String((await uncounted.ask({ canvas, timeout: 0.1 } as { canvas: PythonCanvas })).id);
      };
      const fine = await sent([step('interop.add', [1, 2]), step('interop.add', [3, 4])], []);
      expect(await app.handle(fine).result(SOON)).toBe(10);
      const broken = await sent([step('interop.add', [1, 2]), step('interop.fail', ['no'])], [note()]);
      await expect(app.handle(broken).result(SOON)).rejects.toMatchObject({ type: 'ChordError' });
      await until(() => notedOf(broken) > 0, 'the errback has run');
      await uncounted.close();
    });

    // RabbitMQ gives nothing back that waits there: such a part ends the chord when its time comes
    test.runIf(name === 'redis')(
      'a part of a Python chord that waits for its time and is revoked by us ends the chord',
      {
        timeout: 60_000,
      },
      async () => {
        const waiting = step('interop.add', [1, 2]);
        const parts = [{ ...waiting, options: { queue: 'interop', countdown: 3_600, task_id: `waits-${version}-${name}` } }];
        const canvas = { chord: [...parts, step('interop.add', [3, 4])], body: step('interop.sum') } as unknown as PythonCanvas;
        const { id } = await client.ask({ canvas, timeout: 0.1 } as { canvas: PythonCanvas });
        // a worker of ours puts it into the delay store, out of which it is taken
        await until(async () => (await app.handle(`waits-${version}-${name}`).revoke()) === 'removed', 'it was found', 20_000);
        await expect(app.handle(String(id)).result({ timeout: '40s' })).rejects.toMatchObject({ type: 'ChordError' });
      },
    );
  });
});
