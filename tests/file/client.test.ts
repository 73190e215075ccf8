/** The writer thread of a client: its loop never waits for a disk, nothing asked is lost, and it keeps no process alive. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Broker } from '../../src/brokers/broker.js';
import { openFileBroker } from '../../src/brokers/file/index.js';
import { loadDriver } from '../../src/clients/sqlite/driver.js';
import { silentLogger } from '../../src/core/logger.js';
import { openFileResults } from '../../src/results/file/index.js';
import { ended, outgoing, output, query, startProgram, type TemporaryFile, temporaryFile } from './support.js';

let file: TemporaryFile;
let broker: Broker;

beforeEach(async () => {
  file = temporaryFile();
  broker = await openFileBroker({ url: file.url, logger: silentLogger, role: 'client' });
});

afterEach(async () => {
  await broker.close();
  file.remove();
});

test('a send waits for the lock in the thread, and the caller’s loop goes on', async () => {
  await broker.declare('q');
  const blocker = (await loadDriver()).open(file.path);
  blocker.exec('BEGIN IMMEDIATE');
  let turns = 0;
  let sent = false;
  const sending = broker.publish([outgoing('q', 'one')], { timeoutMs: 10_000 }).finally(() => {
    sent = true;
  });
  let longestMs = 0;
  for (let last = performance.now(); performance.now() - last < 300 && turns < 200; turns += 1) {
    const beforeMs = performance.now();
    await new Promise((resolve) => setImmediate(resolve));
    longestMs = Math.max(longestMs, performance.now() - beforeMs);
    if (turns > 100) break;
  }
  expect(turns).toBeGreaterThan(100);
  expect(sent).toBe(false);
  blocker.exec('ROLLBACK');
  blocker.close();
  expect(await sending).toEqual([null]);
  expect(longestMs).toBeLessThan(300);
});

test('what was asked before close() is written, and answered', async () => {
  const sending = Array.from({ length: 20 }, (_, index) => broker.publish([outgoing('q', `${index}`)], { timeoutMs: 5_000 }));
  // the first one opens the file: close() must not overtake it
  await sending[0];
  const more = Array.from({ length: 20 }, (_, index) => broker.publish([outgoing('q', `more ${index}`)], { timeoutMs: 5_000 }));
  await broker.close();
  expect((await Promise.all([...sending, ...more])).flat().every((result) => result === null)).toBe(true);
  expect((await query(file.path, 'SELECT count(*) AS n FROM line'))[0]?.['n']).toBe(40);
});

test('errors of the thread arrive typed', async () => {
  const none = await openFileBroker({ url: 'file:/proc/none/queue.db', logger: silentLogger, role: 'client' });
  await expect(none.connect({ timeoutMs: 2_000 })).rejects.toMatchObject({ name: 'BrokerError', code: 'E_BROKER_UNREACHABLE' });
  expect(await none.publish([outgoing('q', 'x')], { timeoutMs: 2_000 })).toMatchObject([
    { name: 'PublishError', code: 'E_BROKER_UNREACHABLE', outcome: 'not-sent' },
  ]);
  await none.close();
});

test('results written by a thread wake those who wait in another handle', async () => {
  const waiter = await openFileResults({ url: file.url, logger: silentLogger, role: 'client' });
  const writer = await openFileResults({ url: file.url, logger: silentLogger, role: 'engine' });
  const waiting = waiter.wait('id', { signal: AbortSignal.timeout(10_000) });
  await writer.set([{ id: 'id', state: 'SUCCESS', meta: '{"x":1}', epoch: 0, ttlMs: 1_000, replyTo: null, correlationId: null }]);
  expect(await waiting).toBe('{"x":1}');
  await waiter.close();
  await writer.close();
});

test.each(['leave', 'close'])(
  'a program that sends one message and does nothing else ends by itself, with the message stored (%s)',
  async (mode) => {
    const child = startProgram('one-send.mjs', [file.url, mode]);
    const text = await output(child);
    expect(await ended(child)).toBe(0);
    expect(text.trim()).toBe('[null]');
    expect((await broker.depth(['q']))[0]?.ready).toBe(1);
  },
);
