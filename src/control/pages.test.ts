import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Broker } from '../brokers/broker.js';
import { openMemoryBroker } from '../brokers/memory/index.js';
import { silentLogger } from '../core/logger.js';
import { type Asker, Turns } from './ask.js';
import { KnownNodes } from './known-nodes.js';
import { LamportClock } from './lamport-clock.js';
import { Mailbox } from './mailbox.js';
import { askAll, MOST_PAGES } from './pages.js';
import type { WorkerPort } from './worker-port.js';

let broker: Broker;
let asker: Asker;
const mailboxes: Mailbox[] = [];

beforeEach(async () => {
  broker = await openMemoryBroker({ url: `memory:pages-${randomUUID()}`, logger: silentLogger, role: 'client' });
  const node = { clock: new LamportClock(), known: new KnownNodes(), turns: new Turns(), logger: silentLogger };
  asker = { ...node, broker, json: 'plain' };
});
afterEach(async () => {
  await Promise.all(mailboxes.splice(0).map((mailbox) => mailbox.close()));
  await broker.close();
});

/** A node with so many tasks, whose names have so many bytes. */
async function join(nodeName: string, count: number, bytes: number): Promise<string[]> {
  const names = Array.from({ length: count }, (_, index) => `${String(index).padStart(6, '0')}${'x'.repeat(bytes - 6)}`);
  const facts = {
    rateLimit: null,
    timeLimitMs: null,
    softTimeLimitMs: null,
    ack: 'late',
    ignoreResult: false,
    trackStarted: false,
  };
  const port = { nodeName, tasks: () => names.map((name) => ({ name, ...facts })), custom: { has: () => false } };
  const mailbox = new Mailbox({ broker, port: port as unknown as WorkerPort, clock: new LamportClock(), logger: silentLogger });
  mailboxes.push(mailbox);
  await mailbox.open();
  return names;
}

const question = (method: string, args: Readonly<Record<string, unknown>> = {}) => ({
  ...{ method, args, destination: null, pattern: null, matcher: null, timeoutMs: 20_000, limit: null },
});

describe('a list that takes several replies', () => {
  test('is there as a whole, beside those of others that took one', async () => {
    const many = await join('many@host', 5_000, 1_000);
    const few = await join('few@host', 3, 10);
    const { answers, complete, ...rest } = await askAll<readonly string[]>(asker, question('registered', { taskinfoitems: [] }));
    expect(answers.get('many@host')).toEqual(many);
    expect(answers.get('few@host')).toEqual(few);
    expect([complete, Object.keys(rest).sort()]).toEqual([true, ['duplicates', 'errors', 'heardBy']]);
  });

  test('ends after so many pages, and is said to be incomplete', async () => {
    const names = await join('huge@host', 200, 700_000);
    const { answers, complete } = await askAll<readonly string[]>(asker, question('registered', { taskinfoitems: [] }));
    const got = answers.get('huge@host') ?? [];
    expect(got.length).toBeGreaterThanOrEqual(MOST_PAGES - 1);
    expect(got.length).toBeLessThanOrEqual(2 * MOST_PAGES);
    expect(got).toEqual(names.slice(0, got.length));
    expect(complete).toBe(false);
  });
});

test('commands without lists get no argument of ours', async () => {
  await join('one@host', 1, 10);
  const { answers, errors } = await askAll(asker, question('ping'));
  expect([[...answers], [...errors]]).toEqual([[['one@host', { ok: 'pong' }]], []]);
});
