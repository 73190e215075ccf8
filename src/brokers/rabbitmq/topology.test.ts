import { expect, test } from 'vitest';
import type { Channel } from '../../clients/amqp.js';
import type { SetupChannel } from '../../clients/amqp-setup.js';
import { silentLogger } from '../../core/logger.js';
import { NO_QUEUE_TABLE } from '../queue-table.js';
import { DeclaredQueues } from './declared.js';
import { Topology } from './topology.js';

/** A broker that remembers names, and how often it was asked for anything. */
function open(): { topology: Topology; asked: (of: () => Promise<void>) => Promise<number>; queues: Set<string> } {
  const queues = new Set<string>();
  let count = 0;
  const channel = {
    checkQueue: async (name: string) => {
      if (!queues.has(name)) throw Object.assign(new Error('no queue'), { code: 404 });
    },
    assertQueue: async (name: string) => void queues.add(name),
    deleteQueue: async (name: string) => void queues.delete(name),
    assertExchange: async () => undefined,
    bindQueue: async () => undefined,
    bindExchange: async () => undefined,
  } as unknown as Channel;
  const setup = {
    run: (_: number, operation: (channel: Channel) => Promise<unknown>) => {
      count += 1;
      return operation(channel);
    },
  } as SetupChannel;
  const declared = new DeclaredQueues(NO_QUEUE_TABLE, { maxPriority: null, queueType: null });
  const topology = new Topology(() => setup, setup, declared, silentLogger);
  const asked = async (of: () => Promise<void>): Promise<number> => {
    const before = count;
    await of();
    return count - before;
  };
  return { topology, asked, queues };
}

test('the delay ladder is declared once, and looked for with one question after a lost connection', async () => {
  const { topology, asked } = open();
  const delay = (): Promise<void> => topology.delay('q', 1_000);
  const first = await asked(delay);
  expect(first).toBeGreaterThan(130);
  expect(await asked(delay)).toBe(0);
  topology.disconnected();
  expect(await asked(delay)).toBe(5); // the last stage; the queue, its exchange, its binding; its way out of the ladder
});

test('a ladder that has gone is made again: with the broker behind a connection, or when a message came back', async () => {
  const { topology, asked, queues } = open();
  const delay = (): Promise<void> => topology.delay('q', 1_000);
  const first = await asked(delay);
  queues.clear();
  topology.disconnected();
  expect(await asked(delay)).toBe(first + 1);
  expect(queues.has('celery_delayed_27')).toBe(true);
  queues.delete('celery_delayed_5');
  topology.forget();
  await delay();
  expect(queues.has('celery_delayed_5')).toBe(true);
});
