/** What the embedded file promises beyond the conformance suites: idleness, group commit, bounds, room, copies. */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Broker } from '../../src/brokers/broker.js';
import { backupFile, openFileBroker } from '../../src/brokers/file/index.js';
import { Database } from '../../src/clients/sqlite/database.js';
import { FileSession } from '../../src/clients/sqlite/session.js';
import { silentLogger } from '../../src/core/logger.js';
import { openFileResults } from '../../src/results/file/index.js';
import type { ResultStore, ResultWrite } from '../../src/results/result-store.js';
import { parkedEntries } from '../../src/testing/broker-conformance.js';
import { idOf, integrity, outgoing, query, type TemporaryFile, take, temporaryFile, until } from './support.js';

let file: TemporaryFile;
const opened: (Broker | ResultStore)[] = [];

beforeEach(() => {
  file = temporaryFile();
});

afterEach(async () => {
  vi.restoreAllMocks();
  for (const each of opened.splice(0)) await each.close();
  file.remove();
});

async function openBroker(url = file.url): Promise<Broker> {
  const broker = await openFileBroker({ url, logger: silentLogger, role: 'engine' });
  opened.push(broker);
  return broker;
}

async function openResults(url = file.url): Promise<ResultStore> {
  const store = await openFileResults({ url, logger: silentLogger, role: 'engine' });
  opened.push(store);
  return store;
}

const success = (id: string, ttlMs: number | null = 60_000): ResultWrite => ({
  id,
  state: 'SUCCESS',
  meta: `{"task_id":"${id}"}`,
  epoch: 0,
  ttlMs,
  replyTo: null,
  correlationId: null,
});

async function count(sql: string): Promise<number> {
  return Number((await query(file.path, sql))[0]?.['n']);
}

describe('an idle process', () => {
  test('makes no query at all, with ten queues, a listener, a wait and a delayed message far away', async () => {
    const broker = await openBroker();
    const results = await openResults();
    await broker.publish([{ ...outgoing('q0', 'far'), notBeforeMs: Date.now() + 86_400_000 }], { timeoutMs: 5_000 });
    const consumer = await broker.consume({
      queues: Array.from({ length: 10 }, (_, index) => ({ name: `q${index}`, credit: 5 })),
      credit: 20,
      leaseMs: 900,
      consumerName: 'idle',
      logger: silentLogger,
      onArrivals: () => {},
      onLost: () => {},
      onState: () => {},
    });
    await broker.listen('celery.pidbox', '#', () => {});
    const giveUp = new AbortController();
    const waiting = results.wait('never', { signal: giveUp.signal }).catch(() => 'given up');
    const calls = vi.spyOn(FileSession.prototype, 'call');
    // falls asleep: the last call of the start-up is over once nothing was called for a while
    let quietSinceMs = performance.now();
    let seen = 0;
    await until(() => {
      if (calls.mock.calls.length !== seen) quietSinceMs = performance.now();
      seen = calls.mock.calls.length;
      return performance.now() - quietSinceMs > 300;
    }, 'silence');
    const before = calls.mock.calls.length;
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    expect(calls.mock.calls.slice(before).map(([name]) => name)).toEqual([]);
    giveUp.abort();
    await waiting;
    expect(await consumer.close({ timeoutMs: 1_000 })).toBe(0);
  });

  test('that holds nothing writes nothing, though its lease is long over', async () => {
    const broker = await openBroker();
    await broker.publish([outgoing('q', 'one')], { timeoutMs: 5_000 });
    const taker = await take(broker, 'q', 1, { leaseMs: 100 });
    await until(() => taker.arrivals.length === 1, 'the message');
    await taker.consumer.settle(taker.arrivals.map((arrival) => ({ kind: 'ack', arrival })));
    taker.consumer.grant('q', 1);
    const commits = vi.spyOn(Database.prototype, 'commit');
    await until(() => commits.mock.calls.length > 0, 'the pop that finds nothing');
    commits.mockClear();
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(commits).not.toHaveBeenCalled();
    await broker.publish([outgoing('q', 'two')], { timeoutMs: 5_000 });
    await until(() => taker.arrivals.length === 2, 'the next message, for the same consumer');
    expect(taker.lost).toEqual([]);
  });
});

describe('group commit', () => {
  test('puts what is asked in one turn into one transaction, broker and results together', async () => {
    const broker = await openBroker();
    const results = await openResults();
    await Promise.all([broker.connect({ timeoutMs: 5_000 }), results.connect({ timeoutMs: 5_000 })]);
    await Promise.all([broker.declare('q'), results.set([success('warm')])]);
    const commits = vi.spyOn(Database.prototype, 'commit');
    await Promise.all([
      ...Array.from({ length: 50 }, (_, index) => broker.publish([outgoing('q', `${index}`)], { timeoutMs: 5_000 })),
      results.set([success('a'), success('b')]),
    ]);
    expect(commits).toHaveBeenCalledTimes(1);
    expect((await broker.depth(['q']))[0]?.ready).toBe(50);
    expect(await results.get(['a'])).toEqual([success('a').meta]);
  });

  test('saves the others when one of them cannot be stored', async () => {
    const broker = await openBroker(`${file.url}?maxSize=1MiB`);
    await broker.declare('q');
    const huge = 'x'.repeat(3 * 1_048_576);
    const [small, tooMuch, other] = await Promise.all([
      broker.publish([outgoing('q', 'small')], { timeoutMs: 5_000 }),
      broker.publish([outgoing('q', 'huge', huge)], { timeoutMs: 5_000 }),
      broker.publish([outgoing('q', 'other')], { timeoutMs: 5_000 }),
    ]);
    expect([small, other]).toEqual([[null], [null]]);
    expect(tooMuch?.[0]).toMatchObject({ code: 'E_BROKER_FULL', outcome: 'not-sent', taskId: 'huge' });
    const taker = await take(broker, 'q', 10);
    await until(() => taker.arrivals.length === 2, 'the small ones');
    expect(taker.arrivals.map(idOf).sort()).toEqual(['other', 'small']);
  });
});

describe('a full disk', () => {
  test('is told as E_BROKER_FULL, loses nothing, and all works again once there is room', { timeout: 60_000 }, async () => {
    const broker = await openBroker(`${file.url}?maxSize=1MiB`);
    const body = 'x'.repeat(20_000);
    const stored: string[] = [];
    let refusal: unknown = null;
    for (let index = 0; refusal === null && index < 1_000; index += 1) {
      const [result] = await broker.publish([outgoing('q', `m${index}`, body)], { timeoutMs: 5_000 });
      if (result === null) stored.push(`m${index}`);
      else refusal = result;
    }
    expect(refusal).toMatchObject({
      code: 'E_BROKER_FULL',
      outcome: 'not-sent',
      message: expect.stringContaining('free disk space'),
    });
    expect(stored.length).toBeGreaterThan(10);
    const taker = await take(broker, 'q', stored.length);
    await until(() => taker.arrivals.length === stored.length, 'all that was stored');
    expect(taker.arrivals.map(idOf)).toEqual(stored);
    await taker.consumer.settle(taker.arrivals.map((arrival) => ({ kind: 'ack', arrival })));
    expect(await broker.publish([outgoing('q', 'again', body)], { timeoutMs: 5_000 })).toEqual([null]);
    expect(await integrity(file.path)).toBe('ok');
  });
});

describe('bounds', () => {
  test('a program that makes a queue a message is stopped at 10,000 queues, and the others go on', {
    timeout: 60_000,
  }, async () => {
    const broker = await openBroker();
    const names = Array.from({ length: 10_000 }, (_, index) => `q${index}`);
    const results = await broker.publish(
      names.map((name) => outgoing(name, name)),
      { timeoutMs: 30_000 },
    );
    expect(results.every((result) => result === null)).toBe(true);
    expect(await broker.publish([outgoing('one-more', 'x')], { timeoutMs: 5_000 })).toMatchObject([
      { code: 'E_BROKER_FULL', outcome: 'not-sent' },
    ]);
    expect(await broker.publish([outgoing('q77', 'x')], { timeoutMs: 5_000 })).toEqual([null]);
  });

  test('broadcasts are not kept at all when nobody listens, and not for ever when somebody does', {
    timeout: 60_000,
  }, async () => {
    const broker = await openBroker();
    const { message } = outgoing('', 'x');
    const tell = (routingKey: string): Promise<unknown> => broker.broadcast({ exchange: 'e', routingKey, message });
    await tell('nobody');
    expect(await count('SELECT count(*) AS n FROM broadcasts')).toBe(0);
    await broker.listen('e', '#', () => {});
    await Promise.all(Array.from({ length: 12_000 }, (_, index) => tell(`${index}`)));
    expect(await count('SELECT count(*) AS n FROM broadcasts')).toBe(10_000);
  });

  test('expired results are swept by those who write others', async () => {
    const results = await openResults();
    await results.set(Array.from({ length: 3_000 }, (_, index) => success(`old${index}`, 50)));
    await results.set([success('kept', null)]);
    await until(async () => {
      await results.set([success('new')]);
      return (await count("SELECT count(*) AS n FROM results WHERE id LIKE 'old%'")) === 0;
    }, 'the sweep');
    expect(await count('SELECT (SELECT count(*) FROM result_keys) + (SELECT count(*) FROM new_result_keys) AS n')).toBe(2);
    expect(await results.get(['kept', 'old1'])).toEqual([success('kept').meta, null]);
  });

  test('the WAL starts over: its size does not follow the traffic', { timeout: 60_000 }, async () => {
    const broker = await openBroker(`${file.url}?sync=normal`);
    const body = 'x'.repeat(50_000);
    let largest = 0;
    // 100 MB through a WAL of 16 MiB
    for (let round = 0; round < 100; round += 1) {
      const results = await broker.publish(
        Array.from({ length: 20 }, (_, index) => outgoing('q', `${index}`, body)),
        { timeoutMs: 10_000 },
      );
      expect(results.every((result) => result === null)).toBe(true);
      expect(await broker.purge('q')).toBe(20);
      largest = Math.max(largest, statSync(`${file.path}-wal`).size);
    }
    expect(largest).toBeGreaterThan(16 * 1_048_576);
    expect(largest).toBeLessThan(40 * 1_048_576);
    expect(statSync(file.path).size).toBeLessThan(40 * 1_048_576);
  });
});

describe('a backup', () => {
  test('is a whole, consistent copy of a file in use, with its progress, and opens like the original', {
    timeout: 60_000,
  }, async () => {
    const broker = await openBroker();
    const results = await openResults();
    await broker.publish(
      Array.from({ length: 5_000 }, (_, index) => outgoing('q', `m${index}`, 'x'.repeat(1_000))),
      { timeoutMs: 10_000 },
    );
    await results.set([success('r')]);
    const copy = join(file.folder, 'copy.db');
    const shares: number[] = [];
    const copying = backupFile(file.url, copy, (share) => shares.push(share));
    // in use all the while
    expect(await broker.publish([outgoing('q', 'meanwhile')], { timeoutMs: 5_000 })).toEqual([null]);
    await copying;
    expect(shares.at(-1)).toBe(1);
    expect(existsSync(`${copy}.partial`)).toBe(false);
    expect(await integrity(copy)).toBe('ok');
    const restored = await openBroker(`file:${copy}`);
    expect((await restored.depth(['q']))[0]?.ready).toBeGreaterThanOrEqual(5_000);
    expect(await (await openResults(`file:${copy}`)).get(['r'])).toEqual([success('r').meta]);
    const taker = await take(restored, 'q', 3);
    await until(() => taker.arrivals.length === 3, 'the first messages of the copy');
    expect(taker.arrivals.map(idOf)).toEqual(['m0', 'm1', 'm2']);
  });

  test('writes over nothing, and says so', async () => {
    await (await openBroker()).declare('q');
    await expect(backupFile(file.url, file.path)).rejects.toMatchObject({ code: 'E_CONFIG_CONFLICT' });
    await expect(backupFile(`file:${join(file.folder, 'none.db')}`, join(file.folder, 'copy.db'))).rejects.toMatchObject({
      code: 'E_BROKER_UNREACHABLE',
    });
    expect(existsSync(join(file.folder, 'none.db'))).toBe(false);
  });
});

test('text that SQLite cannot give back (NUL, lone surrogates) arrives as it was sent', async () => {
  const broker = await openBroker();
  const bodies = ['a\0b', '\0', 'x\ud800y', 'naïve 😀', ''];
  await broker.publish(
    bodies.map((body, index) => outgoing('q', `${index}`, body)),
    { timeoutMs: 5_000 },
  );
  const taker = await take(broker, 'q', 10);
  await until(() => taker.arrivals.length === bodies.length, 'all of them');
  expect(taker.deliveries().map(({ message }) => message.body.data)).toEqual(bodies);
});

test('parked messages keep their head and body', async () => {
  const broker = await openBroker();
  await broker.publish([outgoing('q', 'bad', 'the body')], { timeoutMs: 5_000 });
  const taker = await take(broker, 'q', 1);
  await until(() => taker.arrivals.length === 1, 'the message');
  await taker.consumer.settle(
    taker.arrivals.map((arrival) => ({ kind: 'park', arrival, reason: { code: 'E_DECODE', reason: 'because' } })),
  );
  const [dead] = await parkedEntries(broker);
  expect(dead).toMatchObject({ queue: 'q', code: 'E_DECODE', reason: 'because' });
  expect(Buffer.from(dead?.raw ?? []).toString()).toContain('the body');
});

test('results are found, kept final and swept wherever their keys are: among the new ones or moved', async () => {
  const results = await openResults();
  const ids = Array.from({ length: 6_500 }, (_, index) => `r${index}`);
  for (let start = 0; start < ids.length; start += 500) await results.set(ids.slice(start, start + 500).map((id) => success(id)));
  expect(await count('SELECT count(*) AS n FROM result_keys')).toBeGreaterThanOrEqual(4_000);
  expect(await count('SELECT count(*) AS n FROM new_result_keys')).toBeGreaterThan(0);
  expect(await results.get(ids)).toEqual(ids.map((id) => success(id).meta));
  expect(new Set(await results.set(ids.map((id) => success(id))))).toEqual(new Set(['final']));
  await results.forget(ids);
  for (const table of ['results', 'result_keys', 'new_result_keys'])
    expect(await count(`SELECT count(*) AS n FROM ${table}`), table).toBe(0);
});

test('ids that share a hash are told apart', async () => {
  const results = await openResults();
  await results.set([success('one'), success('two')]);
  // as if both had the hash of the first
  const [hash] = (await query(file.path, "SELECT hash FROM results WHERE id = 'one'")).map((row) => row['hash'] ?? null);
  await query(file.path, "UPDATE new_result_keys SET hash = ? WHERE seq = (SELECT seq FROM results WHERE id = 'two')", [
    hash ?? null,
  ]);
  expect(await results.get(['one'])).toEqual([success('one').meta]);
  expect(await results.set([success('one')])).toEqual(['final']);
});
