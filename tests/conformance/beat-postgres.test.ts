/** The store of schedules in PostgreSQL against its conformance suite, on one private server with a schema for each test. */
import { afterAll, beforeAll, describe } from 'vitest';
import type { BeatStore } from '../../src/beat/beat-store.js';
import { openBeatStore } from '../../src/beat/from-url.js';
import { silentLogger } from '../../src/core/logger.js';
import { beatStoreConformance } from '../../src/testing/conformance/beat-store.js';
import { type PostgresServer, postgresMissing, startPostgres } from '../support/postgres-server.js';

const missing = postgresMissing();
if (missing && process.env['CI'] === 'true') throw new Error(missing);

describe.skipIf(missing !== null)(missing === null ? 'PostgreSQL' : `PostgreSQL (not run: ${missing})`, () => {
  let server: PostgresServer;
  let places = 0;
  beforeAll(async () => {
    server = await startPostgres();
  }, 60_000);
  afterAll(async () => {
    await server?.stop();
  });

  beatStoreConformance('postgresql', async () => {
    places += 1;
    const url = server.urlOf({ schema: `suite_${places}` });
    const opened: BeatStore[] = [];
    const open = async (app: string): Promise<BeatStore> => {
      const store = await openBeatStore({ url, app, logger: silentLogger, brokerUrl: 'amqp://localhost' });
      opened.push(store);
      return store;
    };
    return {
      store: await open('one'),
      another: () => open('one'),
      ofAnotherApp: () => open('two'),
      async close() {
        for (const store of opened) await store.close();
      },
    };
  });
});
