/** The store of schedules in Redis against its conformance suite, as a user with the rights of the guide. */
import { afterAll, beforeAll, describe } from 'vitest';
import type { BeatStore } from '../../src/beat/beat-store.js';
import { openBeatStore } from '../../src/beat/from-url.js';
import { openBroker } from '../../src/brokers/from-url.js';
import { silentLogger } from '../../src/core/logger.js';
import { beatStoreConformance } from '../../src/testing/conformance/beat-store.js';
import { guideUser } from '../support/redis-acl.js';
import { type RedisServer, redisMissing, startRedis } from '../support/redis-server.js';

describe.skipIf(redisMissing() !== null)('on a private server', () => {
  let server: RedisServer;
  let places = 0;
  beforeAll(async () => {
    server = await startRedis({ args: guideUser('beat', 'secret', 'suite:') });
  });
  afterAll(() => server.stop());

  beatStoreConformance('redis', async () => {
    places += 1;
    const url = `redis://beat:secret@127.0.0.1:${server.port}/0?prefix=suite:${places}:`;
    const opened: { close(): Promise<void> }[] = [];
    const open = async (app: string): Promise<BeatStore> => {
      const store = await openBeatStore({ url, app, logger: silentLogger, brokerUrl: url });
      opened.push(store);
      return store;
    };
    const broker = await openBroker({ url, logger: silentLogger, role: 'client' });
    opened.push(broker);
    return {
      store: await open('one'),
      another: () => open('one'),
      ofAnotherApp: () => open('two'),
      sent: async (queue) =>
        (await broker.peek(queue, 10)).map((peeked) => ('message' in peeked ? String(peeked.message.headers['id']) : 'garbage')),
      async close() {
        for (const each of opened) await each.close();
      },
    };
  });
});
