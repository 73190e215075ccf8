/** Schedules with `wait_replicas`: what counts as sent is on as many replicas. */
import { Redis } from 'ioredis';
import { afterEach, describe, expect, test } from 'vitest';
import type { BeatStore, Firing } from '../../src/beat/beat-store.js';
import { openBeatStore } from '../../src/beat/from-url.js';
import { silentLogger } from '../../src/core/logger.js';
import { until } from '../../src/testing/conformance/broker-kit.js';
import { redisMissing, startRedis } from '../support/redis-server.js';

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function server(...args: string[]) {
  const started = await startRedis({ args });
  cleanups.push(() => started.stop());
  return started;
}

async function storeAt(url: string): Promise<BeatStore> {
  const store = await openBeatStore({ url, app: 'a', logger: silentLogger, brokerUrl: url });
  cleanups.push(() => store.close());
  await store.connect({ timeoutMs: 10_000 });
  return store;
}

const put = (id: string) => ({ kind: 'put', id, definition: '{}', paused: false }) as const;
const firing = (id: string, revision: number, seq: number): Firing => ({
  ...{ id, revision, seq, state: '{}', messages: [], request: null },
});

describe.skipIf(redisMissing() !== null)('with wait_replicas', () => {
  test('changes and decisions are refused while too few replicas have them, and stand nevertheless', {
    timeout: 40_000,
  }, async () => {
    const { url } = await server();
    const store = await storeAt(`${url}?wait_replicas=1`);
    await expect(store.change([put('entry')])).rejects.toMatchObject({
      code: 'E_PUBLISH_TIMEOUT',
      message: expect.stringContaining('0 of 1 replicas'),
    });
    const revision = (await store.get('entry'))?.revision ?? 0;
    expect(revision).toBe(1);
    const { epoch } = await store.takeLead('one', 0);
    await expect(store.fire(epoch, [firing('entry', revision, 0)])).rejects.toMatchObject({ code: 'E_PUBLISH_TIMEOUT' });
    // So the leader that looks again finds it decided, and does not send twice.
    expect(await store.get('entry')).toMatchObject({ seq: 1 });
    expect(await store.fire(epoch, [firing('entry', revision, 0)])).toEqual(['stale']);
  });

  test('what was decided is on the replica when the decision is answered', { timeout: 40_000 }, async () => {
    const primary = await server('--repl-diskless-sync-delay', '0');
    const replica = await server('--replicaof', '127.0.0.1', String(primary.port));
    const store = await storeAt(`${primary.url}?wait_replicas=1`);
    const there = new Redis(replica.url);
    cleanups.push(async () => there.disconnect());
    await until(async () => (await there.info('replication')).includes('master_link_status:up'), 'the replica follows', 20_000);
    expect(await store.change([put('entry')])).toEqual(['done']);
    expect(await there.hget('lovage:beat:a:entries', 'entry')).toBe('1-{}');
    const { epoch } = await store.takeLead('one', 0);
    for (let seq = 0; seq < 20; seq += 1) {
      expect(await store.fire(epoch, [firing('entry', 1, seq)])).toEqual(['done']);
      expect(await there.hget('lovage:beat:a:states', 'entry')).toBe(`${seq + 1}:{}`);
    }
  });
});
