/** What a stop promises, on any broker: one suite, run by a file for each. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { CliWorker } from './cli-worker.js';

type Tasks = typeof import('./shutdown-app.js');

/** A broker of the suite's own. */
export interface ShutdownBroker {
  brokerUrl(folder: string): string;
  resultUrl(folder: string): string;
  /** Makes it unreachable without a word, and back; `null` for a file, which always answers. */
  readonly outage: { begin(): Promise<void>; end(): Promise<void> } | null;
  close(): Promise<void>;
}

const GRACE_MS = 1_000;
/** Two seconds are promised, and measured by drills; the rest is for a busy machine, and still far from the tasks’ own minute. */
const END_MS = GRACE_MS + 2_000 + 20_000;

/** @param hasOutage whether the broker can be unreachable */
export function shutdownSuite(name: string, hasOutage: boolean, open: () => Promise<ShutdownBroker>): void {
  describe(`a stop on ${name}`, () => {
    let broker: ShutdownBroker;
    let folder: string;
    let tasks: Tasks;
    const workers: CliWorker[] = [];

    beforeAll(async () => {
      broker = await open();
    });
    afterAll(async () => {
      await broker.close();
    });
    beforeEach(async () => {
      folder = mkdtempSync(join(tmpdir(), 'lovage-stop-'));
      process.env.LOVAGE_TEST_BROKER = broker.brokerUrl(folder);
      process.env.LOVAGE_TEST_RESULTS = broker.resultUrl(folder);
      process.env.LOVAGE_TEST_LEDGER = join(folder, 'ledger');
      tasks = (await import(/* @vite-ignore */ `./shutdown-app.ts?${folder}`)) as Tasks;
    });
    afterEach(async () => {
      await Promise.all(workers.splice(0).map((worker) => worker.stop()));
      await tasks.app.close();
      rmSync(folder, { recursive: true, force: true });
    });

    const start = async (...more: string[]): Promise<CliWorker> => {
      const worker = await CliWorker.start([
        '--app',
        'tests/worker/shutdown-app.ts',
        '--grace',
        '1s',
        '--concurrency',
        '40',
        ...more,
      ]);
      workers.push(worker);
      return worker;
    };
    const ledger = (): string[] => {
      try {
        return readFileSync(join(folder, 'ledger'), 'utf8').trim().split('\n');
      } catch {
        return [];
      }
    };
    const began = (key: string): string[] => ledger().filter((line) => line.startsWith(`began ${key}`));

    test('what ends within the grace is finished here, and the exit is 0', async () => {
      const worker = await start();
      const handle = await tasks.deaf.send('short', 400);
      await worker.until(() => began('short').length === 1);
      worker.child.kill('SIGTERM');
      expect(await worker.exit(END_MS)).toBe(0);
      expect(await handle.result({ timeout: '5s' })).toBe('short');
      expect(began('short')).toEqual(['began short 1']);
      expect(worker.lastLine()).toMatchObject({ handedBack: 0, handBackFailed: false });
      // both executors run their hook, after the task
      expect(ledger().slice(-2)).toEqual(['hook', 'hook']);
    });

    test('what does not end goes on elsewhere at once, as the same attempt', async () => {
      const worker = await start('--concurrency', '6');
      const handles = [
        await tasks.deaf.send('deaf', 60_000),
        await tasks.polite.send('polite'),
        await tasks.spinner.send('spinner', 60_000),
        await tasks.deaf.send('deaf2', 60_000),
      ];
      await worker.until(() => ['deaf', 'polite', 'spinner', 'deaf2'].every((key) => began(key).length > 0));
      const other = await start();
      worker.child.kill('SIGTERM');
      expect(await worker.exit(END_MS)).toBe(0);
      for (const handle of handles) expect(await handle.result({ timeout: '10s' })).toMatch(/deaf|polite|spinner/);
      for (const key of ['polite', 'spinner']) expect(began(key)).toEqual([`began ${key} 1`, `began ${key} 1`]);
      expect(worker.lastLine()).toMatchObject({ handBackFailed: false });
      expect(worker.lastLine()?.handedBack).toBeGreaterThanOrEqual(4);
      expect(other.ended).toBe(null);
    });

    test('what waits for its next try is not touched by it', async () => {
      // It is to wait in the broker, not on its way there: the first delayed message of a RabbitMQ takes more than a second.
      const worker = await start('--grace', '10s');
      const handle = await tasks.retrying.send('again');
      await worker.until(() => began('again').length === 1);
      worker.child.kill('SIGTERM');
      expect(await worker.exit(10_000 + END_MS)).toBe(0);
      await start();
      expect(await handle.result({ timeout: '20s' })).toBe('again');
      expect(began('again')).toEqual(['began again 1', 'began again 2']);
    });

    test('a second signal hurries', async () => {
      const worker = await start('--grace', '60s');
      await tasks.deaf.send('slow', 60_000);
      await worker.until(() => began('slow').length === 1);
      worker.child.kill('SIGTERM');
      await worker.until(() => worker.log().includes('no new tasks are taken'));
      worker.child.kill('SIGTERM');
      expect(await worker.exit(END_MS)).toBe(0);
    });

    test('an idle worker ends at once', async () => {
      const worker = await start('--grace', '60s');
      worker.child.kill('SIGINT');
      expect(await worker.exit(END_MS)).toBe(0);
    });

    if (!hasOutage) return;
    test('with a broker that does not answer it ends all the same, and says by 3 that the lease must recover the work', async () => {
      const outage = broker.outage as NonNullable<ShutdownBroker['outage']>;
      const worker = await start('--lease', '2s');
      const handle = await tasks.deaf.send('orphan', 60_000);
      await worker.until(() => began('orphan').length === 1);
      await outage.begin();
      try {
        worker.child.kill('SIGTERM');
        expect(await worker.exit(END_MS)).toBe(3);
        expect(worker.lines().find(({ msg }) => msg === 'worker stopped')).toMatchObject({ handBackFailed: true });
        expect(worker.lastLine()).toMatchObject({ exitCode: 3 });
      } finally {
        await outage.end();
      }
      await start('--lease', '2s');
      expect(await handle.result({ timeout: '30s' })).toBe('orphan');
    }, 60_000);
  });
}
