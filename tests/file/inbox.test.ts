/** What listeners and inboxes leave in the file: bounded, and nothing for ever. */
import { readFileSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Broker, INBOX_LIMITS } from '../../src/brokers/broker.js';
import { fileBrokerForTests, openFileBroker } from '../../src/brokers/file/index.js';
import { silentLogger } from '../../src/core/logger.js';
import { outgoing, query, type TemporaryFile, temporaryFile } from './support.js';

const REPLIES = 'reply.celery.pidbox';
const { message } = outgoing('', 'x');
let file: TemporaryFile;
const opened: Broker[] = [];

beforeEach(() => {
  file = temporaryFile();
});
afterEach(async () => {
  for (const each of opened.splice(0)) await each.close();
  file.remove();
});

async function openBroker(): Promise<Broker> {
  // a handle of its own, as another process has it
  const url = `${file.url}?maxSize=${2_000 + opened.length}MiB`;
  const broker = await openFileBroker({ url, logger: silentLogger, role: 'engine' });
  opened.push(broker);
  return broker;
}

async function count(table: 'listeners' | 'replies'): Promise<number> {
  return Number((await query(file.path, `SELECT count(*) AS n FROM ${table}`))[0]?.['n']);
}

describe('the table of listeners', () => {
  test('is empty when all have closed, each by itself or with its broker', async () => {
    const broker = await openBroker();
    const { close } = await broker.listen('celery.pidbox', '#', () => {});
    await broker.listen('celeryev', '#', () => {});
    await broker.openInbox(REPLIES, () => {});
    expect(await count('listeners')).toBe(3);
    await close();
    expect(await count('listeners')).toBe(2);
    await broker.close();
    expect(await count('listeners')).toBe(0);
  });

  test('forgets who was killed once its minute is over, and the replies that it has not read', async () => {
    const [client, worker] = [await openBroker(), await openBroker()];
    const { address } = await client.openInbox(REPLIES, () => {});
    await client.listen('celery.pidbox', '#', () => {});
    await fileBrokerForTests(client).kill();
    await worker.sendReply(address, message);
    expect([await count('listeners'), await count('replies')]).toEqual([2, 1]);
    const leftMs = 'SELECT max(until) - CAST(unixepoch() AS INTEGER) * 1000 AS leftMs FROM listeners WHERE inbox =';
    const left = async (inbox: number): Promise<number> => Number((await query(file.path, `${leftMs} ${inbox}`))[0]?.['leftMs']);
    expect(await left(1)).toBeLessThanOrEqual(INBOX_LIMITS.ttlMs + 1_000);
    // its row holds for longer, but nobody counts on it without a sign of life: the time of the last one is made an old one
    expect(await left(0)).toBeLessThanOrEqual(3_601_000);
    expect(await worker.broadcast({ exchange: 'celery.pidbox', routingKey: '', message })).toBe(1);
    const signs = `${file.path}-bell/listeners`;
    const slots = readFileSync(signs);
    for (let at = 8; at < slots.length; at += 16) slots.writeDoubleLE(Date.now() - INBOX_LIMITS.ttlMs - 1_000, at);
    writeFileSync(signs, slots);
    expect(await worker.broadcast({ exchange: 'celery.pidbox', routingKey: '', message })).toBe(0);
    await query(file.path, 'UPDATE listeners SET until = 1');
    // the first broadcast of a process sweeps; nobody is counted whose time is over
    const later = await openBroker();
    expect(await later.broadcast({ exchange: 'celery.pidbox', routingKey: '', message })).toBe(0);
    expect([await count('listeners'), await count('replies')]).toEqual([0, 0]);
  });
});

describe('an inbox that nobody reads', () => {
  test('holds so many replies, and so many bytes', { timeout: 60_000 }, async () => {
    const [client, worker] = [await openBroker(), await openBroker()];
    const many = await client.openInbox(REPLIES, () => {});
    const large = await client.openInbox(REPLIES, () => {});
    await fileBrokerForTests(client).kill();
    await Promise.all(Array.from({ length: INBOX_LIMITS.messages + 50 }, () => worker.sendReply(many.address, message)));
    expect(await count('replies')).toBe(INBOX_LIMITS.messages);
    const body = { encoding: 'utf8', data: 'x'.repeat(15 * 1024 * 1024) } as const;
    for (let sent = 0; sent < 6; sent += 1) await worker.sendReply(large.address, { ...message, body });
    expect(await count('replies')).toBe(INBOX_LIMITS.messages + 4);
  });
});
