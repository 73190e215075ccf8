/** Broadcast queues across languages: what either side sends is run by the workers of both, on both brokers. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLogger } from '../../src/core/logger.js';
import { type App, createApp, type RemoteTask, type Worker } from '../../src/index.js';
import { hasCelery, PythonClient, startPythonWorker } from '../support/celery.js';
import { until } from '../worker/harness.js';
import { type Fleet, type FleetName, openFleet } from './fleet.js';

const VERSIONS = (['5.2', '5.6'] as const).filter((version) => hasCelery(version) || process.env.CI);
const interop = new URL('.', import.meta.url).pathname;

describe.each<FleetName>(['redis', 'rabbitmq with redis results'])('%s', (name) => {
  describe.each(VERSIONS)('a Broadcast queue shared with Celery %s', (version) => {
    let fleet: Fleet;
    let folder: string;
    let python: Awaited<ReturnType<typeof startPythonWorker>>;
    let client: PythonClient;
    let app: App;
    let note: RemoteTask<[string], void>;
    const workers: Worker[] = [];
    const ran: string[] = [];

    beforeAll(async () => {
      fleet = await openFleet(name);
      folder = mkdtempSync(join(tmpdir(), 'lovage-news-'));
      writeFileSync(join(folder, 'ledger'), '');
      const pythonApp = { folder: interop, module: 'broadcast_news', queue: 'news,celery' };
      python = await startPythonWorker(version, fleet.broker, fleet.results, pythonApp, {
        INTEROP_LEDGER: join(folder, 'ledger'),
      });
      client = new PythonClient(version, fleet.broker, fleet.results, 'broadcast_news.py');
      expect(await client.start()).toContain(version);
      app = createApp({
        ...{ name: 'news', broker: fleet.broker, results: fleet.results, logger: silentLogger, sendTimeout: '30s' },
        queues: { news: { broadcast: true } },
      });
      note = app.fn('news.note', (text: string) => void ran.push(text), { queue: 'news', ignoreResult: true, params: ['text'] });
      for (const worker of ['one@ours', 'two@ours'])
        workers.push(await app.worker({ name: worker, pool: 'inline', queues: { news: 4 }, logger: silentLogger }));
    }, 120_000);
    afterAll(async () => {
      for (const worker of workers) await worker.close();
      await app?.close();
      await client?.close();
      await python?.stop();
      await fleet?.close();
      if (folder) rmSync(folder, { recursive: true, force: true });
    }, 60_000);

    const ledger = (): string[] => readFileSync(join(folder, 'ledger'), 'utf8').trim().split('\n');
    const times = (lines: readonly string[], text: string): number => lines.filter((line) => line === text).length;

    test('our send is run once by each worker of either language', { timeout: 60_000 }, async () => {
      await note.send('from ours');
      await until(() => times(ran, 'from ours') === 2 && times(ledger(), 'from ours') === 1, 'all to have run it', 30_000);
    });

    test("Python's send is run once by each worker of either language, also with a countdown", { timeout: 60_000 }, async () => {
      await client.ask({
        send: [
          { task: 'news.note', args: ['from Python'] },
          { task: 'news.note', args: ['later'], options: { countdown: 1 } },
        ],
      });
      await until(
        () => ['from Python', 'later'].every((text) => times(ran, text) === 2 && times(ledger(), text) === 1),
        'all to have run both',
        30_000,
      );
    });

    test.skipIf(name !== 'redis')('leaves nothing of ours in Redis', async () => {
      const redis = new Redis(fleet.broker);
      try {
        const keys = (await redis.keys('*')).filter((key) => key.includes('news'));
        // the Python worker's own queue is bound, as kombu does it
        expect(keys).toEqual(['_kombu.binding.news']);
        expect(await redis.scard('_kombu.binding.news')).toBe(1);
      } finally {
        redis.disconnect();
      }
    });
  });
});
