/** Dead letters of the embedded file beyond the conformance suite: files of an older version, and bodies that stay on the disk. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Broker } from '../../src/brokers/broker.js';
import { openFileBroker } from '../../src/brokers/file/index.js';
import { loadDriver } from '../../src/clients/sqlite/driver.js';
import { migrate } from '../../src/clients/sqlite/schema.js';
import { silentLogger } from '../../src/core/logger.js';
import { drain } from '../../src/testing/conformance/broker-kit.js';
import { type TemporaryFile, temporaryFile } from './support.js';

let file: TemporaryFile;
const opened: Broker[] = [];

beforeEach(() => {
  file = temporaryFile();
});

afterEach(async () => {
  for (const each of opened.splice(0)) await each.close();
  file.remove();
});

async function open(): Promise<Broker> {
  const broker = await openFileBroker({ url: file.url, logger: silentLogger, role: 'engine' });
  opened.push(broker);
  await broker.connect({ timeoutMs: 5_000 });
  return broker;
}

test('letters of a file of version 1 are taken over, whatever is in them', async () => {
  const old = (await loadDriver()).open(file.path);
  migrate(old, file.path, 1);
  for (const sql of [
    `INSERT INTO dead VALUES(1, 'q', 1700000000000, 'E_NOT_REGISTERED', 'nobody "knows" it',
      '[0,"application/json","utf-8",{"task":"old.task","id":"one"},{"correlation_id":"one"}]', '[["one"],{},{}]')`,
    "INSERT INTO dead VALUES(2, 'q', 1700000000001, 'E_DECODE', 'no head', NULL, x'00ff')",
    "INSERT INTO dead VALUES(3, 'q', 1700000000002, 'E_DECODE', 'a head that is none', '{\"task\":', NULL)",
  ])
    old.exec(sql);
  old.close();

  const broker = await open();
  const { letters } = await broker.deadLetters.list();
  expect(letters).toMatchObject([
    { id: '3', code: 'E_DECODE', task: null, size: 8 },
    { id: '2', code: 'E_DECODE', task: null, size: 2 },
    {
      id: '1',
      queue: 'q',
      parkedAtMs: 1_700_000_000_000,
      code: 'E_NOT_REGISTERED',
      reason: 'nobody "knows" it',
      task: 'old.task',
      taskId: 'one',
      history: { leasesLost: 0, executorsLost: 0, retries: 0, redelivered: false, unknownSinceMs: null, parkedBy: null },
    },
  ]);
  const report = await broker.deadLetters.replay({ filter: {} }, { timeoutMs: 5_000 });
  expect(report).toMatchObject({ done: 1, refusedCount: 2 });
  expect(await drain(broker, 'q', 1)).toEqual(['one']);
});
