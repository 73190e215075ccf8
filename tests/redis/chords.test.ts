/** Chords in Redis that a Python worker has ended: it takes Celery's keys away and knows nothing of ours. */
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLogger } from '../../src/core/logger.js';
import { giveUp } from '../../src/results/chords.js';
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

  const end = (groupId: string, index: number, more: object = {}) => ({
    ...{ groupId, index, taskId: `${groupId}:${index}`, state: 'SUCCESS', resultJson: String(index), ttlMs: 60_000 },
    ...more,
  });

  test('whose last part Python has counted is not complete for a part of ours that comes again', async () => {
    const { chords } = store;
    if (!chords) throw new Error('no chords');
    const group = 'counted-by-python';
    await chords.open([{ groupId: group, size: 2, body: '{}', deadlineMs: Date.now() + 60_000, ttlMs: 60_000 }]);
    expect(await chords.report([end(group, 0)])).toEqual([{ kind: 'open' }]);
    // Python sends the body now, and takes the keys away after it
    await client.zadd(`celery-taskset-meta-${group}.j`, 1, '[1, "theirs", "SUCCESS", 1]');
    expect(await chords.report([end(group, 0)])).toEqual([{ kind: 'open' }]);
    await chords.close([group]);
  });

  test('that Python opened gets a deadline from whoever reports a part of it, and can be given up', async () => {
    const { chords } = store;
    if (!chords) throw new Error('no chords');
    const nowMs = Date.now();
    for (const group of ['python-1', 'python-2']) await client.set(`celery-taskset-meta-${group}.s`, '2');
    expect(await chords.report([end('python-1', 0)])).toEqual([{ kind: 'open', isUnkept: true }]);
    const kept = { body: '{"task":"theirs"}', deadlineMs: nowMs + 5_000, ttlMs: 60_000 };
    await chords.adopt?.([
      { ...kept, groupId: 'python-1' },
      { ...kept, groupId: 'nobody-opened-it' },
    ]);
    expect(await chords.report([end('python-1', 0)])).toEqual([{ kind: 'open' }]);
    const overdue = async (): Promise<string[]> => (await chords.overdue(nowMs + 6_000, 10)).chords.map(({ groupId }) => groupId);
    expect(await overdue()).toContain('python-1');
    expect(await overdue()).not.toContain('nobody-opened-it');
    const part = { groupId: 'python-2', index: 0, taskId: 'waited', resultJson: '{}', body: kept.body, settlesAll: false };
    await giveUp(store, [part], 60_000, nowMs - 100);
    expect((await chords.overdue(nowMs, 10)).chords).toContainEqual({ groupId: 'python-2', body: kept.body });
    // again, it keeps its first deadline
    await chords.adopt?.([{ ...kept, deadlineMs: nowMs + 900_000, groupId: 'python-1' }]);
    expect(await overdue()).toContain('python-1');
    await chords.close(['python-1', 'python-2']);
  });

  test('tells how far it has come, with the parts of Python', async () => {
    const { chords } = store;
    if (!chords) throw new Error('no chords');
    const group = 'half-way';
    await chords.open([{ groupId: group, size: 3, body: '{}', deadlineMs: Date.now() + 60_000, ttlMs: 60_000 }]);
    await chords.report([end(group, 2, { state: 'FAILURE', resultJson: '{"exc_type": "E"}', settlesAll: true })]);
    await client.zadd(`celery-taskset-meta-${group}.j`, 0, '[1, "theirs", "SUCCESS", 7]');
    const [theirs, ours] = [{ taskId: 'theirs', index: 0, state: 'SUCCESS', resultJson: '7' }, `${group}:2`];
    const ends = [theirs, { taskId: ours, index: 2, state: 'FAILURE', resultJson: '{"exc_type": "E"}' }];
    expect(await chords.state?.(group)).toEqual({ size: 3, ends });
    await chords.close([group]);
    expect(await chords.state?.(group)).toBeNull();
  });
});
