/** A topic exchange shared with Python on both brokers: each queue that is bound by a fitting key gets a copy, whoever made it. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLogger } from '../../src/core/logger.js';
import { type App, createApp, type RemoteTask, taskContext, type Worker } from '../../src/index.js';
import { hasCelery, PythonClient, startPythonWorker } from '../support/celery.js';
import { until } from '../worker/harness.js';
import { type Fleet, type FleetName, openFleet } from './fleet.js';

const VERSIONS = (['5.2', '5.6'] as const).filter((version) => hasCelery(version) || process.env.CI);
const interop = new URL('.', import.meta.url).pathname;

describe.each<FleetName>(['redis', 'rabbitmq with redis results'])('%s', (name) => {
  describe.each(VERSIONS)('a topic exchange shared with Celery %s', (version) => {
    let fleet: Fleet;
    let folder: string;
    let python: Awaited<ReturnType<typeof startPythonWorker>>;
    let client: PythonClient;
    let app: App;
    let worker: Worker;
    let note: RemoteTask<[string], void>;
    const ran: string[] = [];

    beforeAll(async () => {
      fleet = await openFleet(name);
      folder = mkdtempSync(join(tmpdir(), 'lovage-topics-'));
      writeFileSync(join(folder, 'ledger'), '');
      const pythonApp = { folder: interop, module: 'exchange_topics', queue: 'video-py,all-py' };
      python = await startPythonWorker(version, fleet.broker, fleet.results, pythonApp, {
        INTEROP_LEDGER: join(folder, 'ledger'),
      });
      app = createApp({
        ...{ name: 'media', broker: fleet.broker, results: fleet.results, logger: silentLogger, sendTimeout: '30s' },
        queues: {
          'video-ts': { exchange: 'media', exchangeType: 'topic', routingKey: '*.video' },
          'audio-ts': { exchange: 'media', exchangeType: 'topic', routingKey: 'media.audio' },
        },
      });
      note = app.fn('media.note', (text: string) => void ran.push(`${taskContext().queue} ${text}`), {
        ...{ ignoreResult: true, params: ['text'] },
      });
      worker = await app.worker({ pool: 'inline', queues: { 'video-ts': 4, 'audio-ts': 4 }, logger: silentLogger });
      client = new PythonClient(version, fleet.broker, fleet.results, 'exchange_topics.py');
      expect(await client.start()).toContain(version);
    }, 120_000);
    afterAll(async () => {
      await worker?.close();
      await app?.close();
      await client?.close();
      await python?.stop();
      await fleet?.close();
      if (folder) rmSync(folder, { recursive: true, force: true });
    }, 60_000);

    const ledger = (text: string): number =>
      readFileSync(join(folder, 'ledger'), 'utf8')
        .split('\n')
        .filter((line) => line === text).length;
    const ours = (text: string): string[] => ran.filter((line) => line.endsWith(` ${text}`)).sort();

    test('our send by exchange and routing key reaches the queues of both', { timeout: 60_000 }, async () => {
      await note.with({ exchange: 'media', routingKey: 'media.video' }).send('video of ours');
      await until(() => ours('video of ours').length >= 1 && ledger('video of ours') >= 2, 'both to run it', 30_000);
      await note.with({ exchange: 'media', routingKey: 'media.audio' }).send('audio of ours');
      await until(() => ours('audio of ours').length >= 1 && ledger('audio of ours') >= 1, 'both to run it', 30_000);
      expect(ours('video of ours')).toEqual(['video-ts video of ours']);
      expect(ours('audio of ours')).toEqual(['audio-ts audio of ours']);
      expect([ledger('video of ours'), ledger('audio of ours')]).toEqual([2, 1]);
    });

    test("Python's send by exchange and routing key reaches the queues of both", { timeout: 60_000 }, async () => {
      await client.ask({
        send: [{ task: 'media.note', args: ['video of theirs'], options: { exchange: 'media', routing_key: 'media.video' } }],
      });
      await until(() => ours('video of theirs').length >= 1 && ledger('video of theirs') >= 2, 'both to run it', 30_000);
      expect(ours('video of theirs')).toEqual(['video-ts video of theirs']);
      expect(ledger('video of theirs')).toBe(2);
    });

    test.skipIf(name !== 'redis')('the bindings in Redis have the form of kombu’s', async () => {
      const redis = new Redis(fleet.broker);
      try {
        const members = (await redis.smembers('_kombu.binding.media')).map((member) => member.split('\x06\x16'));
        expect(members.sort()).toEqual([
          ['*.video', '^.*?[^\\.]\\.video$', 'video-ts'],
          ['media.#', '^media\\..*?$', 'all-py'],
          ['media.audio', '^media\\.audio$', 'audio-ts'],
          ['media.video', '^media\\.video$', 'video-py'],
        ]);
      } finally {
        redis.disconnect();
      }
    });
  });
});
