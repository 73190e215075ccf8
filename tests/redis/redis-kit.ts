/** What the Redis tests share: a private server for a file, brokers that are closed after each test, a view of the commands. */
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe } from 'vitest';
import type { Broker } from '../../src/brokers/broker.js';
import { openRedisBroker } from '../../src/brokers/redis/index.js';
import { type Logger, silentLogger } from '../../src/core/logger.js';
import { openRedisResults } from '../../src/results/redis/index.js';
import type { ResultStore } from '../../src/results/result-store.js';
import { until } from '../../src/testing/conformance/broker-kit.js';
import { type RedisServer, type RedisServerOptions, redisMissing, startRedis } from '../support/redis-server.js';

export interface RedisKit {
  server: RedisServer;
  admin: Redis;
  broker(url?: string, logger?: Logger): Promise<Broker>;
  results(url?: string): Promise<ResultStore>;
  /** The commands that clients send while `body` runs; what scripts run inside is left out. */
  commandsDuring(body: () => Promise<void>): Promise<string[][]>;
}

/** MONITOR on a socket of our own: the client library can stumble over the first lines of it. */
async function monitor(port: number, admin: Redis, run: () => Promise<void>): Promise<string[][]> {
  const seen: string[][] = [];
  const socket = connect(port, '127.0.0.1');
  const lines = createInterface(socket);
  let isStarted = false;
  let isEnded = false;
  lines.on('line', (line) => {
    if (line === '+OK') {
      isStarted = true;
      return;
    }
    const [, source, command] = /^\+\S+ \[\d+ (\S+)\] (.*)$/.exec(line) ?? [];
    if (command?.includes('end of watch')) isEnded = true;
    else if (command !== undefined && source !== 'lua')
      seen.push([...command.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, word]) => word as string));
  });
  try {
    socket.write('MONITOR\r\n');
    await until(() => isStarted, 'the start of MONITOR');
    await run();
    // what was sent before this mark has been seen when the mark has
    await admin.echo('end of watch');
    await until(() => isEnded, 'the end of MONITOR');
    return seen;
  } finally {
    socket.destroy();
  }
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
      commandsDuring: (run) => monitor(kit.server.port, kit.admin, run),
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
