/** Workers of the command line with their results in PostgreSQL, on one broker: what callers see, through retries and kills. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chord, group } from 'lovage';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Project } from '../cli/run-cli.js';
import { type PostgresServer, startPostgres } from '../support/postgres-server.js';
import { CliWorker } from '../worker/cli-worker.js';

type Fixture = typeof import('./worker-app.js');

const APP = 'tests/postgres/worker-app.ts';
const PARTS = 100;
const SUM = (PARTS * (PARTS - 1)) / 2;
const SOON = { timeout: '40s' } as const;

/**
 * @param brokerOf gives the broker's URL for the folder of a test, and how to end it
 * @param cases `chords`: only what depends on the broker
 */
export function workerCases(
  name: string,
  brokerOf: (folder: string) => Promise<{ readonly url: string; stop(): Promise<void> }>,
  cases: 'all' | 'chords' = 'all',
): void {
  describe(`on ${name}`, () => {
    let server: PostgresServer;
    let broker: { readonly url: string; stop(): Promise<void> };
    let folder: string;
    let ledger: string;
    let results: string;
    let tasks: Fixture;
    let workers: CliWorker[];
    let schemas = 0;
    beforeAll(async () => {
      server = await startPostgres();
    });
    afterAll(async () => {
      await server?.stop();
    });
    beforeEach(async () => {
      folder = mkdtempSync(join(tmpdir(), 'lovage-postgres-worker-'));
      ledger = join(folder, 'ledger');
      writeFileSync(ledger, '');
      broker = await brokerOf(folder);
      schemas += 1;
      results = server.urlOf({ schema: `worker_${schemas}` });
      process.env['LOVAGE_TEST_BROKER'] = broker.url;
      process.env['LOVAGE_TEST_RESULTS'] = results;
      process.env['LOVAGE_TEST_LEDGER'] = ledger;
      tasks = (await import(/* @vite-ignore */ `${new URL('./worker-app.ts', import.meta.url).href}?${folder}`)) as Fixture;
      workers = [];
    });
    afterEach(async () => {
      await Promise.all(workers.map((worker) => worker.stop()));
      await tasks.app.close();
      await broker.stop();
      rmSync(folder, { recursive: true, force: true });
    });

    async function start(): Promise<CliWorker> {
      const worker = await CliWorker.start([
        ...['--app', APP, '--results', results, '--lease', '1s', '--threads', '1', '--events', 'off'],
      ]);
      workers.push(worker);
      return worker;
    }
    const noted = (what: string): string[] =>
      readFileSync(ledger, 'utf8')
        .split('\n')
        .filter((line) => line.startsWith(what));

    test('a chord of 100 parts ends though a worker is killed on the way, and its body runs once', {
      timeout: 90_000,
    }, async () => {
      writeFileSync(`${ledger}.kill-60`, '');
      const first = await start();
      const parts = Array.from({ length: PARTS }, (_, nth) => tasks.part.si(nth));
      const handle = await chord(group(parts), tasks.body.s()).send();
      expect(await first.exit(30_000)).toBe('SIGKILL');
      await start();
      expect(await handle.result(SOON)).toBe(SUM);
      expect(noted('body')).toEqual(['body']);
    });

    if (cases === 'chords') return;

    test('results, retries and steps are told to the sender, and to whoever asks for them', { timeout: 60_000 }, async () => {
      await start();
      const handle = await tasks.add.send(2, 3);
      expect(await handle.result(SOON)).toBe(5);
      const flaky = await tasks.flaky.send();
      expect(await flaky.result(SOON)).toBe(3);
      expect(noted('flaky')).toEqual(['flaky 1', 'flaky 2', 'flaky 3']);
      const stepping = await tasks.stepping.send({});
      expect(await stepping.result(SOON)).toBe(42);
      expect(noted('step')).toEqual(['step']);
      const project = new Project();
      const asked = await project.run(['result', handle.id, '--broker', broker.url, '--results', results]);
      project.remove();
      expect(asked).toMatchObject({ code: 0, stdout: expect.stringContaining('5') });
    });

    test('a task whose result is ready while PostgreSQL is down is told when it is back', { timeout: 60_000 }, async () => {
      await start();
      expect(await (await tasks.add.send(1, 1)).result(SOON)).toBe(2);
      await server.kill9();
      const handles = await Promise.all([1, 2, 3].map((x) => tasks.add.send(x, x)));
      const waiting = Promise.all(handles.map((handle) => handle.result(SOON)));
      await server.restart();
      expect(await waiting).toEqual([2, 4, 6]);
    });
  });
}
