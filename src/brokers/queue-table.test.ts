/** What becomes of declared queues on brokers that know queues by their names alone. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, expect, test } from 'vitest';
import type { Logger } from '../core/logger.js';
import { openBroker } from './from-url.js';
import type { QueueDeclaration, QueueTable } from './queue-table.js';

const folder = mkdtempSync(join(tmpdir(), 'lovage-table-'));
const warnings: string[] = [];
const logger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: (_, text) => void warnings.push(String(text)),
  error: () => undefined,
  child: () => logger,
};
const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  warnings.length = 0;
  for (const close of closing.splice(0)) await close();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const PLAIN: QueueDeclaration = { exchange: 'q', exchangeType: 'direct', routingKey: 'q', arguments: {} };
const table = (row: Partial<QueueDeclaration>): QueueTable => ({
  queues: { q: { ...PLAIN, ...row } },
  defaultType: null,
});

async function open(url: string, queues: QueueTable): Promise<void> {
  const broker = await openBroker({ url, queues, logger, role: 'client' });
  closing.push(() => broker.close());
}

const file = (): string => `file:${join(folder, 'queue.db')}`;

test('limits and types that have no effect are warned of; plain rows, exchanges and broadcast queues are not', async () => {
  await open(file(), table({}));
  await open(file(), table({ exchange: 'media', exchangeType: 'topic', routingKey: 'media.#' }));
  await open(file(), table({ exchangeType: 'fanout', broadcast: true }));
  expect(warnings).toEqual([]);
  await open(file(), table({ arguments: { 'x-max-length': 5 } }));
  expect(warnings).toEqual([expect.stringMatching(/no effect on this broker: a queue in a file/)]);
  await open('memory:table', { ...table({}), defaultType: 'quorum' });
  expect(warnings).toHaveLength(2);
});
