import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { silentLogger } from '../../core/logger.js';
import { type Database, openDatabase } from './database.js';
import { Doorbell } from './doorbell.js';
import { GroupCommit } from './group-commit.js';
import { parseFileUrl } from './location.js';

let folder: string;
let database: Database;
let other: Database;
let bell: Doorbell;
let group: GroupCommit;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'lovage-group-'));
  const location = parseFileUrl(`file:${join(folder, 'queue.db')}`);
  database = await openDatabase(location, 5_000);
  other = await openDatabase(location, 5_000);
  bell = new Doorbell(location.path, silentLogger);
  group = new GroupCommit(database, bell);
  group.add({
    name: 'test',
    prepareOperations: (connection, context) => {
      const insert = connection.prepare('INSERT INTO queues(name) VALUES(?)');
      const names = connection.prepare('SELECT name FROM queues ORDER BY name');
      return {
        calls: {
          insert: (name: string) => insert.run([name]),
          ringAndFail: (name: string) => {
            context.ring('messages');
            insert.run([name]);
            throw new Error('after the ring');
          },
          names: () => names.all([]).map((row) => row['name']),
          take: () => context.take('message', 5),
          now: () => context.nowMs(),
        },
      };
    },
  });
});

afterEach(() => {
  vi.restoreAllMocks();
  group.close();
  database.close();
  other.close();
  bell.close();
  rmSync(folder, { recursive: true });
});

const insert = (name: string, deadlineMs?: number): Promise<unknown> =>
  group.call('test.insert', name, deadlineMs === undefined ? { mode: 'durable' } : { mode: 'durable', deadlineMs });
const names = (): Promise<unknown> => group.call('test.names', null, { mode: 'read' });

describe('calls of one turn', () => {
  test('share a transaction, and reads see what it wrote', async () => {
    const commits = vi.spyOn(database, 'commit');
    const asked = [insert('a'), names(), insert('b')];
    expect(await Promise.all(asked)).toEqual([1, ['a', 'b'], 1]);
    expect(commits).toHaveBeenCalledTimes(1);
  });

  test('are each for itself when one fails: the others are stored, its ring is not heard', async () => {
    const rings = vi.spyOn(bell, 'ring');
    const results = await Promise.allSettled([
      insert('a'),
      insert('a'),
      group.call('test.ringAndFail', 'x', { mode: 'durable' }),
      insert('b'),
    ]);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected', 'fulfilled']);
    expect(await names()).toEqual(['a', 'b']);
    expect(rings).not.toHaveBeenCalled();
  });

  test('beyond the size of a transaction go into the next ones', async () => {
    const commits = vi.spyOn(database, 'commit');
    await Promise.all(
      Array.from({ length: 4 }, (_, index) => group.call('test.insert', `${index}`, { mode: 'durable', weight: 3_000 })),
    );
    expect(commits).toHaveBeenCalledTimes(2);
  });
});

describe('a durable call', () => {
  /** Flushes that end when the test says so. */
  function holdFlushes(): ((error: Error | null) => void)[] {
    const ends: ((error: Error | null) => void)[] = [];
    vi.spyOn(database, 'flush').mockImplementation((onFlushed) => {
      ends.push(onFlushed);
    });
    return ends;
  }

  test('is confirmed by the flush behind its commit; what comes meanwhile shares the next one', async () => {
    const ends = holdFlushes();
    const confirmed: string[] = [];
    const ask = (name: string): Promise<unknown> => insert(name).then(() => confirmed.push(name));
    const first = ask('a');
    // others see it already: it is committed
    expect(await names()).toEqual(['a']);
    const rest = [ask('b'), ask('c')];
    expect(await names()).toEqual(['a', 'b', 'c']);
    expect(confirmed).toEqual([]);
    expect(ends).toHaveLength(1);
    ends[0]?.(null);
    await first;
    expect(confirmed).toEqual(['a']);
    expect(ends).toHaveLength(2);
    ends[1]?.(null);
    await Promise.all(rest);
  });

  test('that could not be flushed is neither confirmed nor denied', async () => {
    const ends = holdFlushes();
    const asked = insert('a');
    await names();
    ends[0]?.(new Error('EIO'));
    await expect(asked).rejects.toMatchObject({ code: 'E_CONNECTION_LOST', message: expect.stringContaining('EIO') });
  });

  test('does not hold up relaxed ones', async () => {
    const ends = holdFlushes();
    const asked = insert('a');
    expect(await group.call('test.insert', 'relaxed', { mode: 'relaxed' })).toBe(1);
    expect(ends).toHaveLength(1);
    ends[0]?.(null);
    expect(await asked).toBe(1);
  });

  test('is flushed and confirmed by close(), also while a flush is under way', async () => {
    holdFlushes();
    const now = vi.spyOn(database, 'flushNow');
    const first = insert('a');
    await names();
    const second = insert('b');
    group.close();
    expect(await Promise.all([first, second])).toEqual([1, 1]);
    expect(now).toHaveBeenCalledTimes(1);
  });
});

describe('while another process holds the lock', () => {
  test('writes wait without blocking the loop, reads go on, and all is done once the lock is free', async () => {
    other.begin();
    let done = false;
    const waiting = insert('a').finally(() => {
      done = true;
    });
    expect(await names()).toEqual([]);
    for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    expect(done).toBe(false);
    other.rollback();
    expect(await waiting).toBe(1);
  });

  test('a call whose deadline passes is given up, with the certainty that it was not written', async () => {
    other.begin();
    await expect(insert('late', Date.now() + 50)).rejects.toMatchObject({
      code: 'E_PUBLISH_TIMEOUT',
      message: expect.stringContaining('nothing was written'),
    });
    other.rollback();
    expect(await names()).toEqual([]);
  });

  // libsql leaves a prepared BEGIN that found the lock taken half-way, and every read after it would see the file as it was then
  test.each<[string, () => Promise<unknown> | boolean]>([
    ['a checkpoint', () => database.checkpoint()],
    ['a write that was given up', () => insert('late', Date.now() + 50).catch(() => 'given up')],
  ])('%s that finds it does not keep later reads from what others commit', async (_, find) => {
    other.begin();
    await find();
    expect(await names()).toEqual([]);
    other.connection.exec("INSERT INTO queues(name) VALUES('theirs')");
    other.commit();
    expect(await names()).toEqual(['theirs']);
  });

  test('a process that was stopped while it took the lock lets the others go first, and reads the clock anew', async () => {
    let nowMs = 1_000_000;
    vi.spyOn(Date, 'now').mockImplementation(() => nowMs);
    const begin = vi.spyOn(database, 'begin').mockImplementationOnce(() => {
      database.connection.exec('BEGIN IMMEDIATE');
      nowMs += 5_000;
    });
    const free = vi.spyOn(database, 'rollback').mockImplementationOnce(() => {
      database.connection.exec('ROLLBACK');
      nowMs += 40;
    });
    expect(await group.call('test.now', null, { mode: 'relaxed' })).toBe(1_005_040);
    expect([begin.mock.calls.length, free.mock.calls.length]).toEqual([2, 1]);
  });

  test('a machine on which it takes long every time to get the lock goes on all the same', async () => {
    let nowMs = 1_000_000;
    vi.spyOn(Date, 'now').mockImplementation(() => nowMs);
    const free = vi.spyOn(database, 'rollback');
    vi.spyOn(database, 'begin').mockImplementation(() => {
      database.connection.exec('BEGIN IMMEDIATE');
      nowMs += 700;
    });
    expect(await insert('a')).toBe(1);
    expect(await insert('b')).toBe(1);
    expect(free).toHaveBeenCalledTimes(2);
  });

  test('no more than 100,000 calls pile up', async () => {
    other.begin();
    const waiting = Array.from({ length: 100_000 }, (_, index) =>
      insert(`${index}`, Date.now() + 200).catch((error: unknown) => error),
    );
    await expect(insert('one more')).rejects.toMatchObject({ code: 'E_BROKER_UNREACHABLE' });
    other.rollback();
    await Promise.all(waiting);
  });

  test('close() rejects what it could not write', async () => {
    other.begin();
    const waiting = insert('a').catch((error: unknown) => error);
    group.close();
    expect(await waiting).toMatchObject({ code: 'E_CLOSED' });
    other.rollback();
  });
});

test('close() writes what was asked before it', async () => {
  const asked = insert('a');
  group.close();
  expect(await asked).toBe(1);
});

test('counters give no number twice, whoever takes, also after a rollback', async () => {
  const first = await group.call('test.take', null, { mode: 'relaxed' });
  other.begin();
  const second = other.take('message', 2);
  other.commit();
  const third = await group.call('test.take', null, { mode: 'relaxed' });
  expect([second, third]).toEqual([Number(first) + 5, Number(first) + 7]);
});

test('a checkpoint is left for later while somebody writes, and is whole otherwise', () => {
  other.begin();
  expect(database.checkpoint()).toBe(false);
  other.rollback();
  expect(database.checkpoint()).toBe(true);
});
