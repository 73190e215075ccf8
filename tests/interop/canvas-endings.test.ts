/**
 * How chords with parts in both languages end where only Lovage has a word for it: with the outcomes of all (`settle: 'all'`), with parts
 * that were added later, and at their deadline, because a Python worker that was killed says nothing more.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chain, chord, createApp, group, type Outcome } from 'lovage';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hasCelery, type PythonCanvas, PythonClient, startPythonWorker } from '../support/celery.js';
import { until } from '../worker/harness.js';
import { type Fleet, type FleetName, type OurWorker, openFleet, startOurWorker } from './fleet.js';

const VERSIONS = (['5.2', '5.6'] as const).filter((version) => hasCelery(version) || process.env.CI);
const SOON = { timeout: '20s' } as const;
/** A deadline of 10 s, the next look a second later at most, and a machine that has other things to do. */
const AT_DEADLINE = { timeout: '35s' } as const;
const LANGUAGES = ['interop', 'py'] as const;
type Language = (typeof LANGUAGES)[number];
const QUEUES = { interop: 'interop', py: 'python' } as const;
const INTEROP = new URL('.', import.meta.url).pathname;

const sorted = (values: unknown): number[] => [...(values as number[])].sort((a, b) => a - b);
const fulfilled = (value: unknown) => ({ status: 'fulfilled', value });
const rejected = (state: string, type: string) => ({ status: 'rejected', reason: expect.objectContaining({ state, type }) });

describe.each<FleetName>(['redis', 'rabbitmq with redis results'])('%s', (name) => {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-interop-endings-'));
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
      return lines.filter((line) => (JSON.parse(line) as { args: unknown[] }).args[0] === id).length;
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
      app = createApp({ name: 'client', broker: fleet.broker, results: fleet.results, sendTimeout: '30s' });
    }, 90_000);
    afterAll(async () => {
      await app?.close();
      await client?.close();
      await theirs?.stop();
    });

    /** The tasks of either language as an app of ours calls them. */
    const tasksOf = (of: ReturnType<typeof createApp>, language: Language) => {
      const options = { queue: QUEUES[language] };
      return {
        add: of.remote<[x: number, y: number], number>(`${language}.add`, options),
        fail: of.remote<[message: string], number>(`${language}.fail`, options),
        sleep: of.remote<[seconds: number], number>(`${language}.sleep`, options),
        told: of.remote<[outcomes: readonly Outcome<number>[]], { args: unknown[] }>(`${language}.echo`, options),
        echo: of.remote<[parts: unknown], { args: unknown[] }>(`${language}.echo`, options),
        grow: of.remote<[value: number], number>('interop.grow', { queue: 'interop' }),
        note: of.remote<[failedId: string], unknown>('interop.note', { queue: 'interop' }),
      };
    };
    /** `interop` and `py`, of the app of this version. */
    const both = () => ({
      ...{ ours: tasksOf(app, 'interop'), python: tasksOf(app, 'py') },
      bodies: (language: Language) => tasksOf(app, language),
    });

    async function notedOnce(id: string): Promise<void> {
      await until(() => notedOf(id) > 0, 'the errback has run');
      expect(await (await both().ours.add.send(1, 1)).result(SOON)).toBe(2);
      expect(notedOf(id)).toBe(1);
    }

    test.each(LANGUAGES)(
      'a body in %s gets the outcomes of parts in both languages, in order, when ours reports last',
      async (bodyIn) => {
        const { ours, python, bodies } = both();
        const late = ours.add.with({ expires: new Date(Date.now() - 60_000) });
        const parts = group([python.add.si(1, 1), python.fail.si('boom'), late.si(1, 1), ours.fail.si('bang'), ours.sleep.si(1)]);
        const handle = await chord(parts, bodies(bodyIn).told.s(), { settle: 'all' }).onError(ours.note.s()).send();
        expect((await handle.result(SOON)).args[0]).toEqual([
          ...[fulfilled(2), rejected('FAILURE', 'ValueError'), rejected('REVOKED', 'TaskRevokedError')],
          ...[rejected('FAILURE', 'ValueError'), fulfilled(1)],
        ]);
        expect(notedOf(handle.id)).toBe(0);
      },
    );

    test('a body of ours gets outcomes when Python reports last and all succeeded', async () => {
      const { ours, python } = both();
      const parts = group(ours.add.si(1, 1), python.add.si(2, 2), python.sleep.si(1));
      const handle = await chord(parts, ours.told.s(), { settle: 'all' }).send();
      expect((await handle.result(SOON)).args[0]).toEqual([fulfilled(2), fulfilled(4), fulfilled(1)]);
    });

    test('a chord that settles all and that a Python worker opens, behind its task, gives outcomes', async () => {
      const { ours, python } = both();
      const parts = group(ours.add.s(1), ours.fail.si('boom'), python.add.s(2), ours.sleep.si(1));
      const handle = await chain(python.add.si(1, 1), chord(parts, ours.told.s(), { settle: 'all' })).send();
      expect((await handle.result(SOON)).args[0]).toEqual([
        ...[fulfilled(3), rejected('FAILURE', 'ValueError'), fulfilled(4), fulfilled(1)],
      ]);
    });

    // Celery's workers know of no outcomes
    test('a chord that settles all fails and calls its errback once when a part failed and Python reports last', async () => {
      const { ours, python } = both();
      const parts = group(ours.fail.si('boom'), ours.add.si(1, 1), python.sleep.si(1));
      const handle = await chord(parts, ours.told.s(), { settle: 'all' }).onError(ours.note.s()).send();
      await expect(handle.result(SOON)).rejects.toMatchObject({ code: 'E_TASK_FAILED', type: 'ChordError' });
      await notedOnce(handle.id);
    });

    test.each(LANGUAGES)(
      'parts that a part of ours adds, in both languages, are among the results of a body in %s',
      async (bodyIn) => {
        const { ours, python, bodies } = both();
        const parts = group(ours.grow.si(1), python.add.si(2, 2), ours.add.si(3, 3));
        const [results] = (await (await chord(parts, bodies(bodyIn).echo.s()).send()).result(SOON)).args;
        expect(sorted(results)).toEqual([1, 4, 6, 101, 1_001]);
      },
    );

    test.each(LANGUAGES)('parts that a part of ours adds count in a chord of Python with a body in %s', async (bodyIn) => {
      const step = (task: string, args: readonly unknown[], language: Language): PythonCanvas => ({
        ...{ task, args, options: { queue: QUEUES[language] } },
      });
      const header = [step('interop.grow', [1], 'interop'), step('py.add', [2, 2], 'py'), step('interop.add', [3, 3], 'interop')];
      const canvas = { chord: header, body: step(`${bodyIn}.echo`, [], bodyIn) } as unknown as PythonCanvas;
      const { result } = await client.ask({ canvas });
      expect(sorted((result as { args: unknown[] }).args[0])).toEqual([1, 4, 6, 101, 1_001]);
    });

    test('chords whose Python worker was killed end at their deadline, each in its way', { timeout: 120_000 }, async () => {
      const place = { folder: INTEROP, module: 'pyworker', queue: `silent-${version}`, name: `silent${version}@%h` };
      const silent = await startPythonWorker(version, fleet.broker, fleet.results, place);
      const hasty = createApp({
        name: 'hasty',
        broker: fleet.broker,
        results: fleet.results,
        resultTtl: '10s',
        sendTimeout: '30s',
      });
      const [ours, python] = [tasksOf(hasty, 'interop'), tasksOf(hasty, 'py')];
      const parts = () => group([python.sleep.with({ queue: place.queue }).si(600), python.add.si(1, 1), ours.add.si(2, 2)]);
      const failing = await chord(parts(), python.echo.s()).onError(ours.note.s()).send();
      const settling = await chord(parts(), ours.told.s(), { settle: 'all' }).send();
      await until(() => silent.log().split(/py\.sleep\[/).length > 2, 'it has begun both', 20_000);
      process.kill(silent.pid, 'SIGKILL');
      await silent.stop();
      await expect(failing.result(AT_DEADLINE)).rejects.toMatchObject({
        type: 'ChordError',
        message: expect.stringContaining('deadline'),
      });
      const [outcomes] = (await settling.result(AT_DEADLINE)).args;
      expect(outcomes).toEqual([rejected('PENDING', 'ChordError'), fulfilled(2), fulfilled(4)]);
      await notedOnce(failing.id);
      await hasty.close();
    });
  });
});
