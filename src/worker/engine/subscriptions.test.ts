import { describe, expect, test } from 'vitest';
import type { ConsumeWish } from '../../brokers/broker.js';
import { BrokerError, ConfigError } from '../../core/errors.js';
import { silentLogger } from '../../core/logger.js';
import { Subscriptions } from './subscriptions.js';

/** A broker and a consumer that write down what they are asked. */
function stage(queues: readonly string[], slots = 10) {
  const wishes: ConsumeWish[] = [];
  const declared: string[] = [];
  const failures: Error[] = [];
  const subscriptions = new Subscriptions({
    broker: {
      declare: async (queue) => {
        const failure = failures.shift();
        if (failure) throw failure;
        declared.push(queue);
      },
    },
    consumer: () => ({ change: async (wish) => void wishes.push(wish) }),
    queues: queues.map((name) => ({ name, credit: null })),
    slots,
    logger: silentLogger,
  });
  return { subscriptions, wishes, declared, failures };
}

const names = (wish: ConsumeWish | undefined): string[] => wish?.queues.map(({ name }) => name) ?? [];

describe('subscriptions', () => {
  test('begin with the queues of the start, declared once', async () => {
    const { subscriptions, declared } = stage(['a', 'b']);
    await subscriptions.declare();
    await subscriptions.declare();
    expect(declared).toEqual(['a', 'b']);
    expect(subscriptions.wish).toEqual({
      queues: [
        { name: 'a', credit: 9 },
        { name: 'b', credit: 9 },
      ],
      credit: 10,
    });
  });

  test('follow what is added and removed, with the shares that this gives each', async () => {
    const { subscriptions, wishes, declared } = stage(['a']);
    subscriptions.add('b');
    subscriptions.add('b');
    await subscriptions.settled();
    expect(declared).toEqual(['a', 'b']);
    expect(wishes).toEqual([
      {
        queues: [
          { name: 'a', credit: 9 },
          { name: 'b', credit: 9 },
        ],
        credit: 10,
      },
    ]);
    subscriptions.remove('a');
    subscriptions.remove('unheard of');
    await subscriptions.settled();
    expect(wishes.at(-1)).toEqual({ queues: [{ name: 'b', credit: 10 }], credit: 10 });
  });

  test('leave paused queues out, whether they were there or come later', async () => {
    const { subscriptions, wishes } = stage(['a', 'b']);
    subscriptions.pause(new Set(['b', 'c']));
    subscriptions.add('c');
    await subscriptions.settled();
    expect(names(wishes.at(-1))).toEqual(['a']);
    subscriptions.pause(new Set());
    await subscriptions.settled();
    expect(names(wishes.at(-1))).toEqual(['a', 'b', 'c']);
  });

  test('share out the slots anew when there are more or fewer', async () => {
    const { subscriptions, wishes } = stage(['a']);
    subscriptions.resize(30);
    await subscriptions.settled();
    expect(wishes.at(-1)).toEqual({ queues: [{ name: 'a', credit: 30 }], credit: 30 });
    subscriptions.resize(30);
    await subscriptions.settled();
    expect(wishes).toHaveLength(1);
  });

  test('try again while the broker is away, and bring what holds by then', async () => {
    const { subscriptions, wishes, failures } = stage(['a']);
    failures.push(new BrokerError('E_BROKER_UNREACHABLE', 'away'));
    subscriptions.add('b');
    await new Promise((resolve) => setImmediate(resolve));
    subscriptions.remove('a');
    await subscriptions.settled();
    expect(wishes.map(names)).toEqual([['b']]);
  });

  test('give up a queue that the broker cannot have', async () => {
    const { subscriptions, wishes, failures } = stage(['a']);
    await subscriptions.declare();
    failures.push(new ConfigError('E_CONFIG_RANGE', 'no such name'));
    subscriptions.add('unacked');
    await subscriptions.settled();
    expect(wishes.map(names).at(-1)).toEqual(['a']);
    expect(subscriptions.names).toEqual(['a']);
  });

  test('are bounded in number', () => {
    const { subscriptions } = stage([]);
    for (let count = 0; count < 1_000; count += 1) subscriptions.add(`q${count}`);
    expect(() => subscriptions.add('one more')).toThrow(/1000 queues/);
    subscriptions.close();
  });
});
