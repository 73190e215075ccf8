/** Tools of the tests of the PostgreSQL store: stores that are closed after the test, and results to write. */
import { afterEach } from 'vitest';
import { silentLogger } from '../../src/core/logger.js';
import { openPostgresResults } from '../../src/results/postgres/index.js';
import type { ResultStore, ResultWrite } from '../../src/results/result-store.js';
import { meta } from '../../src/testing/conformance/result-fixture.js';

/** Opens stores; each is closed after the test. */
export function stores(): (url: string) => Promise<ResultStore> {
  const opened: ResultStore[] = [];
  afterEach(async () => {
    for (const store of opened.splice(0)) await store.close();
  });
  return async (url) => {
    const store = await openPostgresResults({ url, logger: silentLogger, role: 'client' });
    opened.push(store);
    return store;
  };
}

export const success = (id: string, more: Partial<ResultWrite> = {}): ResultWrite => ({
  ...{ id, state: 'SUCCESS', meta: meta(id, 'SUCCESS'), epoch: 0, ttlMs: 600_000, replyTo: null, correlationId: null },
  ...more,
});

/** A signal that ends waits which nobody wakes. */
export const patient = (): AbortSignal => AbortSignal.timeout(25_000);

/** Waits for a result of its own: after that the store listens, and writers know it. */
export async function listening(store: ResultStore, writer: ResultStore): Promise<void> {
  const id = `heard-${Math.random()}`;
  const waiting = store.wait(id, { signal: patient() });
  await writer.set([success(id)]);
  await waiting;
}
