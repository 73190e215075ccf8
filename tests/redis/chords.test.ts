/** Chords in Redis that a Python worker has ended: it takes Celery's keys away and knows nothing of ours. */
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLogger } from '../../src/core/logger.js';
import { openRedisResults } from '../../src/results/redis/index.js';
import type { ResultStore } from '../../src/results/result-store.js';
import { type RedisServer, redisMissing, startRedis } from '../support/redis-server.js';

const missing = redisMissing();
if (missing && process.env['CI'] === 'true') throw new Error(missing);

describe.skipIf(missing !== null)(missing === null ? 'a chord in Redis' : `a chord in Redis (not run: ${missing})`, () => {
  let server: RedisServer;
  let store: ResultStore;
  let client: Redis;
  beforeAll(async () => {
    server = await startRedis();
    store = await openRedisResults({ url: server.url, logger: silentLogger, role: 'engine' });
    client = new Redis(server.port, '127.0.0.1', { protocol: 2 });
  });
  afterAll(async () => {
    await store?.close();
    client?.disconnect();
    await server?.stop();
  });

  test('is not overdue once Python has ended it, and leaves nothing behind', async () => {
    const nowMs = Date.now();
    const chord = { size: 2, body: '{}', deadlineMs: nowMs - 1_000, ttlMs: 60_000 };
    const [python, failed] = ['python', 'failed'].map((groupId) => ({ ...chord, groupId }));
    if (!store.chords || !python || !failed) throw new Error('no chords');
    await store.chords.open([python, failed]);
    const base = `celery-taskset-meta-${python.groupId}`;
    await client.del(`${base}.j`, `${base}.t`, `${base}.s`);
    const part = { groupId: failed.groupId, index: 0, taskId: 'a', state: 'FAILURE', resultJson: '{}', ttlMs: 60_000 };
    expect(await store.chords.report([part])).toMatchObject([{ kind: 'failed' }]);
    expect(await client.exists(`celery-taskset-meta-${failed.groupId}.s`)).toBe(0);
    expect((await store.chords.overdue(nowMs, 10)).chords.map(({ groupId }) => groupId)).toEqual([failed.groupId]);
    expect(await client.exists(`${base}.b`)).toBe(0);
    expect(await client.zrange('lovage:chords', '0', '-1')).toEqual([failed.groupId]);
  });
});
