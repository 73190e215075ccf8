/** What the Redis tests share: a private server for a file, brokers that are closed after each test, a view of the commands. */
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe } from 'vitest';
import type { Broker } from '../../src/brokers/broker.js';
import { openRedisBroker } from '../../src/brokers/redis/index.js';
import { silentLogger, type Logger } from '../../src/core/logger.js';
import { openRedisResults } from '../../src/results/redis/index.js';
import type { ResultStore } from '../../src/results/result-store.js';
import { redisMissing, startRedis, type RedisServer, type RedisServerOptions } from '../support/redis-server.js';

export interface RedisKit {
  server: RedisServer;
  admin: Redis;
  broker(url?: string, logger?: Logger): Promise<Broker>;
  results(url?: string): Promise<ResultStore>;
  /** The commands that clients send while `body` runs; what scripts run inside is left out. */
  commandsDuring(body: () => Promise<void>): Promise<string[][]>;
}

/** A suite with a server of its own, emptied before each test. Without redis-server it is skipped by name; with CI=true that fails. */
export function redisSuite(name: string, body: (kit: RedisKit) => void, options: RedisServerOptions = {}): void {
  const missing = redisMissing();
  if (missing && process.env['CI'] === 'true') throw new Error(missing);
  describe.skipIf(missing !== null)(missing === null ? name : `${name} (not run: ${missing})`, () => {
    const opened: { close(): Promise<void> }[] = [];
    const kit = {
      async broker(url = kit.server.url, logger = silentLogger) {
        const broker = await openRedisBroker({ url, logger, role: 'engine' });
        opened.push(broker);
        return broker;
      },
      async results(url = kit.server.url) {
        const store = await openRedisResults({ url, logger: silentLogger, role: 'engine' });
        opened.push(store);
        return store;
      },
      async commandsDuring(run) {
        const monitor = await kit.admin.monitor();
        const seen: string[][] = [];
        monitor.on('monitor', (_time: string, args: string[], source: string) => {
          if (source !== 'lua') seen.push(args);
        });
        await run();
        // what was sent before this mark has been seen when the mark has
        await kit.admin.echo('end of watch');
        await new Promise<void>((resolve) => {
          const look = (): void => void (seen.some(([, word]) => word === 'end of watch') ? resolve() : setImmediate(look));
          look();
        });
        monitor.disconnect();
        return seen.filter(([, word]) => word !== 'end of watch');
      },
    } as RedisKit;
    beforeAll(async () => {
      kit.server = await startRedis(options);
      kit.admin = new Redis(kit.server.url, { protocol: 2, retryStrategy: () => 20, maxRetriesPerRequest: null });
      kit.admin.on('error', () => {});
    });
    afterEach(async () => {
      for (const thing of opened.splice(0)) await thing.close();
      await kit.admin.flushall();
    });
    afterAll(async () => {
      kit.admin.disconnect();
      await kit.server.stop();
    });
    body(kit);
  });
}
