/** The PostgreSQL result store against the conformance suite, on one private server with a schema for each test. */
import { afterAll, beforeAll, describe } from 'vitest';
import { silentLogger } from '../../src/core/logger.js';
import { openPostgresResults, postgresResultsForTests } from '../../src/results/postgres/index.js';
import type { ResultStore } from '../../src/results/result-store.js';
import { type ResultStoreFixture, resultStoreConformance } from '../../src/testing/result-store-conformance.js';
import { type PostgresServer, postgresMissing, startPostgres } from '../support/postgres-server.js';

const missing = postgresMissing();
if (missing && process.env['CI'] === 'true') throw new Error(missing);
let server: PostgresServer;
let fixtures = 0;

async function openFixture(): Promise<ResultStoreFixture> {
  fixtures += 1;
  const url = server.urlOf({ schema: `suite_${fixtures}` });
  const stores: ResultStore[] = [];
  const another = async (): Promise<ResultStore> => {
    const store = await openPostgresResults({ url, logger: silentLogger, role: 'engine' });
    stores.push(store);
    return store;
  };
  return {
    store: await another(),
    another,
    openWaits: async () => stores.reduce((sum, store) => sum + postgresResultsForTests(store).waits, 0),
    breakConnections: () => server.killConnections(),
    async close() {
      for (const store of stores) await store.close();
    },
  };
}

describe.skipIf(missing !== null)(missing === null ? 'PostgreSQL' : `PostgreSQL (not run: ${missing})`, () => {
  beforeAll(async () => {
    server = await startPostgres();
  }, 60_000);
  afterAll(async () => {
    await server?.stop();
  });
  resultStoreConformance('postgresql', openFixture);
});
