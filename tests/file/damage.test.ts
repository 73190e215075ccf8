/** What must not harm the file: checkpoints racing with commits, a torn or garbled WAL; and what it says when it is no file of ours. */
import { spawnSync } from 'node:child_process';
import { closeSync, copyFileSync, openSync, readFileSync, statSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Broker } from '../../src/brokers/broker.js';
import { openFileBroker } from '../../src/brokers/file/index.js';
import { loadDriver } from '../../src/clients/sqlite/driver.js';
import { silentLogger } from '../../src/core/logger.js';
import {
  ended,
  idOf,
  integrity,
  outgoing,
  output,
  query,
  startProgram,
  type TemporaryFile,
  take,
  temporaryFile,
  until,
} from './support.js';

let file: TemporaryFile;

beforeEach(() => {
  file = temporaryFile();
});

afterEach(() => file.remove());

const open = (url = file.url): Promise<Broker> => openFileBroker({ url, logger: silentLogger, role: 'engine' });

test('a thousand checkpoints that race with commits of four processes lose no page', { timeout: 120_000 }, async () => {
  const racers = Array.from({ length: 4 }, (_, index) => startProgram('racer.mjs', [file.path, `r${index}`, '250']));
  const outputs = await Promise.all(racers.map(output));
  expect(await Promise.all(racers.map(ended))).toEqual([0, 0, 0, 0]);
  const counts = outputs.map((text) => JSON.parse(text) as { commits: number; complete: number });
  expect(counts.reduce((sum, { complete }) => sum + complete, 0)).toBeGreaterThanOrEqual(1_000);
  expect(await integrity(file.path)).toBe('ok');
  for (const [index, { commits }] of counts.entries()) {
    const rows = await query(
      file.path,
      "SELECT count(*) AS n, count(DISTINCT facts ->> 'reason') AS d FROM dead WHERE facts ->> 'queue' = ?",
      [`r${index}`],
    );
    expect(rows[0]).toMatchObject({ n: commits * 3, d: commits });
  }
});

describe('a torn write', () => {
  /** The files as a power loss would leave them: copied while the database is open, so that nothing was copied back. */
  async function crashed(messages: number): Promise<string> {
    const broker = await open();
    for (let index = 0; index < messages; index += 1)
      await broker.publish([outgoing('q', `m${index}`, 'x'.repeat(500))], { timeoutMs: 5_000 });
    const copy = join(file.folder, 'copy.db');
    // a process that has no database open there: copying drops the locks of the one that copies
    for (const suffix of ['', '-wal']) spawnSync('cp', [`${file.path}${suffix}`, `${copy}${suffix}`]);
    await broker.close();
    return copy;
  }

  async function ids(path: string): Promise<string[]> {
    const broker = await open(`file:${path}`);
    try {
      const ready = (await broker.depth(['q']))[0]?.ready;
      const taker = await take(broker, 'q', 1_000);
      await until(() => taker.arrivals.length === ready, 'what is left');
      return taker.arrivals.map(idOf);
    } finally {
      await broker.close();
    }
  }

  test('at the end of the WAL costs at most the transactions in the torn part, and the file works on', async () => {
    const source = await crashed(50);
    const all = Array.from({ length: 50 }, (_, index) => `m${index}`);
    for (const cut of [1, 700, 5_000, 20_000]) {
      const torn = join(file.folder, `torn-${cut}.db`);
      copyFileSync(source, torn);
      copyFileSync(`${source}-wal`, `${torn}-wal`);
      truncateSync(`${torn}-wal`, statSync(`${torn}-wal`).size - cut);
      const left = await ids(torn);
      // a prefix: earlier commits are intact, nothing is out of order
      expect(left).toEqual(all.slice(0, left.length));
      expect(left.length).toBeGreaterThan(20);
      expect(left.length).toBeLessThan(50);
      const broker = await open(`file:${torn}`);
      expect(await broker.publish([outgoing('q', 'later')], { timeoutMs: 5_000 })).toEqual([null]);
      await broker.close();
      expect(await integrity(torn)).toBe('ok');
    }
  });

  test('of garbage over the tail of the WAL is recognised by its checksums', async () => {
    const copy = await crashed(50);
    const wal = `${copy}-wal`;
    const size = statSync(wal).size;
    const handle = openSync(wal, 'r+');
    writeSync(handle, Buffer.alloc(9_000, 0xa5), 0, 9_000, size - 9_000);
    closeSync(handle);
    const left = await ids(copy);
    expect(left.length).toBeGreaterThan(20);
    expect(left).toEqual(Array.from({ length: left.length }, (_, index) => `m${index}`));
    expect(await integrity(copy)).toBe('ok');
  });

  test('of the whole database is told as damage, with what to do', async () => {
    await crashed(5);
    // closed by now, so that everything is in the database itself
    const copy = join(file.folder, 'damaged.db');
    copyFileSync(file.path, copy);
    const bytes = readFileSync(copy);
    bytes.fill(0x5a, 100, bytes.length);
    writeFileSync(copy, bytes);
    const broker = await open(`file:${copy}`);
    await expect(broker.connect({ timeoutMs: 5_000 })).rejects.toMatchObject({
      code: 'E_BROKER_CORRUPT',
      message: expect.stringContaining('backup'),
    });
    await broker.close();
  });
});

describe('a file that is not ours', () => {
  test('is refused when it is no database', async () => {
    writeFileSync(file.path, 'these are the minutes of the annual general meeting, and no database at all. '.repeat(20));
    const broker = await open();
    await expect(broker.connect({ timeoutMs: 2_000 })).rejects.toMatchObject({ code: 'E_BROKER_CORRUPT' });
    await broker.close();
    expect(readFileSync(file.path, 'utf8')).toContain('minutes');
  });

  test('is refused when it is another program’s database, and left as it is', async () => {
    const connection = (await loadDriver()).open(file.path);
    connection.exec('CREATE TABLE theirs(x)');
    connection.close();
    const broker = await open();
    await expect(broker.connect({ timeoutMs: 2_000 })).rejects.toMatchObject({
      code: 'E_BROKER_CORRUPT',
      message: expect.stringContaining('another program'),
    });
    await broker.close();
    expect((await query(file.path, 'SELECT name FROM sqlite_master')).map(({ name }) => name)).toEqual(['theirs']);
  });

  test('is refused when a newer version has written it', async () => {
    const broker = await open();
    await broker.declare('q');
    await broker.close();
    await query(file.path, 'PRAGMA user_version = 99');
    const again = await open();
    await expect(again.connect({ timeoutMs: 2_000 })).rejects.toMatchObject({
      code: 'E_BROKER_CORRUPT',
      message: expect.stringContaining('newer'),
    });
    await again.close();
  });
});
