/** A lease that is over is not yet a death: after a time in which nobody could renew, owners that live keep what they hold. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { openFileBroker } from '../../src/brokers/file/index.js';
import { loadDriver, type SqliteConnection } from '../../src/clients/sqlite/driver.js';
import { silentLogger } from '../../src/core/logger.js';
import { outgoing, type Taker, type TemporaryFile, take, temporaryFile, until } from './support.js';

let file: TemporaryFile;
const opened: { close(): unknown }[] = [];

beforeEach(() => {
  file = temporaryFile();
});

afterEach(async () => {
  vi.useRealTimers();
  for (const each of opened.splice(0)) await each.close();
  file.remove();
});

/** A consumer with a connection of its own, as in a process of its own. */
async function taker(leaseMs: number, credit = 1): Promise<Taker> {
  const broker = await openFileBroker({ url: file.url, logger: silentLogger, role: 'engine' });
  opened.push(broker);
  return take(broker, 'q', credit, { leaseMs });
}

async function send(id: string): Promise<void> {
  const broker = await openFileBroker({ url: file.url, logger: silentLogger, role: 'engine' });
  await broker.publish([outgoing('q', id)], { timeoutMs: 5_000 });
  await broker.close();
}

/** An owner that holds one message, and a neighbour that has nothing. */
async function ownerAndNeighbour(leaseMs: number): Promise<{ readonly owner: Taker; readonly neighbour: Taker }> {
  await send('held');
  const owner = await taker(leaseMs);
  await until(() => owner.arrivals.length === 1, 'the message');
  return { owner, neighbour: await taker(leaseMs, 5) };
}

const ackAll = ({ consumer, arrivals }: Taker) => consumer.settle(arrivals.map((arrival) => ({ kind: 'ack', arrival })));

/** As a process that is stopped in the middle of a write. */
async function lock(): Promise<SqliteConnection> {
  const connection = (await loadDriver()).open(file.path);
  connection.exec('PRAGMA busy_timeout = 5000');
  connection.exec('BEGIN IMMEDIATE');
  opened.push(connection);
  return connection;
}

describe('an owner that lives', () => {
  test('keeps what it holds when another process kept everybody from writing for longer than its lease, time and again', async () => {
    const { owner, neighbour } = await ownerAndNeighbour(900);
    for (let round = 0; round < 3; round += 1) {
      const connection = await lock();
      await sleep(1_300);
      connection.exec('ROLLBACK');
      await send(`other ${round}`); // somebody writes, and the neighbour looks
      await sleep(600);
    }
    expect(await ackAll(owner)).toEqual(['held']);
    expect(owner.lost).toEqual([]);
    expect(neighbour.arrivals.length).toBe(3);
  });

  test.each([3_600_000, -3_600_000])('keeps what it holds when the clock leaps by %i ms', async (leapMs) => {
    const { owner, neighbour } = await ownerAndNeighbour(15_000);
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + leapMs });
    await send('other');
    await until(() => neighbour.arrivals.length === 1, 'the other message');
    for (let look = 0; look < 12; look += 1) {
      vi.setSystemTime(Date.now() + 250);
      await sleep(250);
    }
    expect(await ackAll(owner)).toEqual(['held']);
    expect(owner.lost).toEqual([]);
    expect(neighbour.arrivals.length).toBe(1);
  });
});

test('what an owner that died held is taken over soon after its lease, also by somebody who has nothing else to do', async () => {
  const { owner, neighbour } = await ownerAndNeighbour(900);
  (owner.consumer as unknown as { kill(): void }).kill();
  await until(() => neighbour.arrivals.length === 1, 'the take-over', 5_900);
  expect(neighbour.deliveries()[0]).toMatchObject({ redelivered: true, losses: 1 });
});
