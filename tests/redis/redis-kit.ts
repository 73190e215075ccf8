/** What the Redis tests share: a private server for a file or for each test, brokers that are closed after each test, a view of the commands. */
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, test } from 'vitest';
import type { Broker } from '../../src/brokers/broker.js';
import { openRedisBroker } from '../../src/brokers/redis/index.js';
import { type Logger, silentLogger } from '../../src/core/logger.js';
import { openRedisResults } from '../../src/results/redis/index.js';
import type { ResultStore } from '../../src/results/result-store.js';
import { until } from '../../src/testing/conformance/broker-kit.js';
import { type RedisServer, type RedisServerOptions, redisMissing, startRedis } from '../support/redis-server.js';

export interface RedisKit {
  readonly server: RedisServer;
  readonly admin: Redis;
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

/** A server of its own, and what is opened on it; disposing of it closes all. */
async function openRedisKit(options: RedisServerOptions = {}): Promise<RedisKit & AsyncDisposable & { empty(): Promise<void> }> {
  const server = await startRedis(options);
  const admin = new Redis(server.url, { protocol: 2, retryStrategy: () => 20, maxRetriesPerRequest: null });
  admin.on('error', () => {});
  const opened: { close(): Promise<void> }[] = [];
  const closeAll = async (): Promise<void> => {
    for (const thing of opened.splice(0)) await thing.close();
  };
  return {
    server,
    admin,
    async broker(url = server.url, logger = silentLogger) {
      const broker = await openRedisBroker({ url, logger, role: 'engine' });
      opened.push(broker);
      return broker;
    },
    async results(url = server.url) {
      const store = await openRedisResults({ url, logger: silentLogger, role: 'engine' });
      opened.push(store);
      return store;
    },
    commandsDuring: (run) => monitor(server.port, admin, run),
    async empty() {
      await closeAll();
      await admin.flushall();
    },
    async [Symbol.asyncDispose]() {
      await closeAll();
      admin.disconnect();
      await server.stop();
    },
  };
}

function describeRedis(name: string, body: () => void): void {
  const missing = redisMissing();
  if (missing && process.env['CI'] === 'true') throw new Error(missing);
  describe.skipIf(missing !== null)(missing === null ? name : `${name} (not run: ${missing})`, body);
}

/** A suite with a server of its own, emptied before each test. Without redis-server it is skipped by name; with CI=true that fails. */
export function redisSuite(name: string, body: (kit: RedisKit) => void, options: RedisServerOptions = {}): void {
  describeRedis(name, () => {
    const kit = {} as Awaited<ReturnType<typeof openRedisKit>>;
    beforeAll(async () => void Object.assign(kit, await openRedisKit(options)));
    afterEach(() => kit.empty());
    afterAll(() => kit[Symbol.asyncDispose]());
    body(kit);
  });
}

/** Registers one scene: a test with a server of its own. */
export type RedisScene = (title: string, run: (kit: RedisKit) => Promise<void>, timeoutMs: number) => void;

/** A suite whose tests run side by side, each on a server of its own: for those that mostly wait, or that stop their server. */
export function redisScenes(name: string, body: (scene: RedisScene) => void): void {
  describeRedis(name, () => {
    body((title, run, timeoutMs) => {
      test.concurrent(
        title,
        async () => {
          await using kit = await openRedisKit();
          await run(kit);
        },
        timeoutMs,
      );
    });
  });
}
