/** Somebody else's keys where ours should be: what cannot be stored or moved is parked with a reason, and nothing goes round for ever. */

import { expect, test } from 'vitest';
import type { Broker } from '../../src/brokers/broker.js';
import { crashRedisBroker } from '../../src/brokers/redis/index.js';
import { silentLogger } from '../../src/core/logger.js';
import { createApp } from '../../src/index.js';
import { Collector, sendIds, until, untilWall } from '../../src/testing/conformance/broker-kit.js';
import { redisSuite } from './redis-kit.js';

redisSuite('a key of another kind', (kit) => {
  const parked = async (broker: Broker): Promise<{ code: string; taskId: string | null; reason: string }[]> =>
    (await broker.deadLetters.list({})).letters.map(({ code, taskId, reason }) => ({ code, taskId, reason }));

  test('where a result should go parks its message after one run, and the results beside it are stored', async () => {
    const app = createApp({ name: 'foreign', broker: kit.server.url, logger: silentLogger });
    const runs: string[] = [];
    const note = app.fn('foreign.note', (name: string): string => {
      runs.push(name);
      return name;
    });
    const { id } = await note.send('taken');
    await kit.admin.lpush(`celery-task-meta-${id}`, 'a list of somebody else');
    const others = await Promise.all(Array.from({ length: 20 }, (_, n) => note.send(`other${n}`)));
    const worker = await app.worker({ pool: 'inline', concurrency: 10, logger: silentLogger });
    try {
      for (const other of others) await other.result({ timeout: '10s' });
      const broker = await kit.broker();
      await until(async () => (await parked(broker)).length > 0, 'the parked message');
      expect(await parked(broker)).toEqual([
        { code: 'E_KEY_TYPE', taskId: id, reason: expect.stringContaining(`celery-task-meta-${id}`) },
      ]);
      await until(async () => (await kit.admin.hlen('unacked')) === 0, 'nothing held');
      expect(runs.filter((name) => name === 'taken')).toHaveLength(1);
      expect(await kit.admin.lrange(`celery-task-meta-${id}`, 0, -1)).toEqual(['a list of somebody else']);
    } finally {
      await worker.close();
      await app.close();
    }
  });

  test.each(['celery-task-meta-chosen', 'lovage:epoch:chosen'])(
    'at %s parks a task that was sent with that id, without a run',
    async (key) => {
      const app = createApp({ name: 'foreign', broker: kit.server.url, logger: silentLogger });
      let runs = 0;
      const note = app.fn('foreign.note', (): number => {
        runs += 1;
        return runs;
      });
      await kit.admin.lpush(key, 'a list of somebody else');
      await note.with({ id: 'chosen' }).send();
      const worker = await app.worker({ pool: 'inline', logger: silentLogger });
      try {
        const broker = await kit.broker();
        await until(async () => (await parked(broker)).length > 0, 'the parked message');
        expect(await parked(broker)).toEqual([{ code: 'E_KEY_TYPE', taskId: 'chosen', reason: expect.stringContaining(key) }]);
        expect(runs).toBe(0);
      } finally {
        await worker.close();
        await app.close();
      }
    },
  );

  test('where a claim should go parks the redelivered message without a run', async () => {
    const app = createApp({ name: 'foreign', broker: kit.server.url, logger: silentLogger });
    let runs = 0;
    const note = app.fn('foreign.note', (): number => {
      runs += 1;
      return runs;
    });
    await kit.admin.lpush('lovage:epoch:taken', 'a list of somebody else');
    await note.with({ id: 'taken' }).send();
    const dying = await kit.broker();
    await (await Collector.open(dying, { lovage: 5 }, { leaseMs: 300 })).got(1);
    await crashRedisBroker(dying);
    await untilWall(Date.now() + 400);
    const worker = await app.worker({ pool: 'inline', lease: '1s', logger: silentLogger });
    try {
      const broker = await kit.broker();
      await until(async () => (await parked(broker)).length > 0, 'the parked message');
      expect(await parked(broker)).toEqual([
        { code: 'E_KEY_TYPE', taskId: 'taken', reason: expect.stringContaining('lovage:epoch:taken') },
      ]);
      expect(runs).toBe(0);
    } finally {
      await worker.close();
      await app.close();
    }
  });

  test('is none of ours, whatever the id of a task', async () => {
    const store = await kit.results();
    // the first claim of any task writes the key that tells of claims
    expect(await store.claim('one', { ttlMs: 10_000 })).toEqual({ epoch: 1 });
    for (const id of ['any', '', 's', ':', '*']) expect(await store.claim(id, { ttlMs: 10_000 })).toEqual({ epoch: 1 });
  });

  test.each(['back', 'front'] as const)('where a queue should be parks what goes %s to it', async (where) => {
    const broker = await kit.broker();
    await sendIds(broker, 'lost', ['x']);
    const collector = await Collector.open(broker, { lost: 1 });
    await collector.got(1);
    await kit.admin.set('lost', 'a string of somebody else');
    expect(await collector.settle({ kind: 'requeue', arrival: collector.delivery(0), where })).toEqual(['held']);
    expect(await parked(broker)).toEqual([{ code: 'E_KEY_TYPE', taskId: 'x', reason: expect.stringContaining('WRONGTYPE') }]);
    expect(await kit.admin.exists('unacked', 'unacked_index')).toBe(0);
  });

  test('where a delay set should be parks what is deferred', async () => {
    const broker = await kit.broker();
    await sendIds(broker, 'late', ['x']);
    const collector = await Collector.open(broker, { late: 1 });
    await collector.got(1);
    await kit.admin.set('lovage:delayed:late', 'a string of somebody else');
    expect(await collector.settle({ kind: 'defer', arrival: collector.delivery(0), untilMs: Date.now() + 1_000 })).toEqual([
      'held',
    ]);
    expect(await parked(broker)).toEqual([{ code: 'E_KEY_TYPE', taskId: 'x', reason: expect.stringContaining('WRONGTYPE') }]);
  });
});
