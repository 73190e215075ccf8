/** Broker suite: broadcasts, as control commands and events use them. */
import { describe, expect } from 'vitest';
import type { Broadcast, Broker, Subscription } from '../../brokers/broker.js';
import type { BrokerSuite } from './broker-fixture.js';
import { bodyBytes, message, uniqueQueue, until } from './broker-kit.js';

/** Celery's own names: a broker that knows exchange types gives these the right ones. */
const TOPIC = 'celeryev';
const FANOUT = 'celery.pidbox';

/** A listener and what it heard of this test. */
interface Heard {
  readonly keys: string[];
  readonly broadcasts: Broadcast[];
  readonly subscription: Subscription;
}

export function broadcastingSuite({ it, can, patienceMs }: BrokerSuite): void {
  const hear = async (broker: Broker, exchange: string, pattern: string, mark: string): Promise<Heard> => {
    const broadcasts: Broadcast[] = [];
    const keys: string[] = [];
    const subscription = await broker.listen(exchange, pattern, (broadcast) => {
      // exchanges may be shared with other tests on one server
      if (broadcast.message.headers['mark'] !== mark) return;
      broadcasts.push(broadcast);
      keys.push(broadcast.routingKey);
    });
    return { keys, broadcasts, subscription };
  };
  const tell = (broker: Broker, exchange: string, routingKey: string, mark: string, data = '{}'): Promise<number | null> =>
    broker.broadcast({ exchange, routingKey, message: message(mark, { headers: { mark }, body: { encoding: 'utf8', data } }) });
  const heard = (one: Heard, count: number): Promise<void> =>
    until(
      () => one.keys.length >= count,
      () => `${count} broadcasts, heard ${one.keys.join(', ')}`,
      patienceMs,
    );

  describe('broadcast', () => {
    it('reaches everybody who listens, on whichever connection, with the whole message', async (fixture) => {
      const mark = uniqueQueue('mark');
      const here = await hear(fixture.broker, FANOUT, '#', mark);
      const there = await hear(await fixture.another(), FANOUT, '#', mark);
      await tell(fixture.broker, FANOUT, '', mark, '{"method":"ping","note":"naïve 🌿"}');
      for (const one of [here, there]) {
        await heard(one, 1);
        expect(one.broadcasts[0]?.exchange).toBe(FANOUT);
        const got = one.broadcasts[0]?.message;
        expect(got && bodyBytes(got).toString()).toBe('{"method":"ping","note":"naïve 🌿"}');
        expect(got).toMatchObject({ contentType: 'application/json', contentEncoding: 'utf-8' });
      }
    });

    it('reaches a listener as soon as listen() has resolved, and nobody who came later', async (fixture) => {
      const mark = uniqueQueue('mark');
      await tell(fixture.broker, TOPIC, 'task.sent', mark);
      const one = await hear(fixture.broker, TOPIC, '#', mark);
      await tell(fixture.broker, TOPIC, 'task.received', mark);
      await heard(one, 1);
      expect(one.keys).toEqual(['task.received']);
    });

    it('is matched by AMQP topic patterns: * is one word, # any number', async (fixture) => {
      const mark = uniqueQueue('mark');
      const { broker } = fixture;
      const patterns = {
        all: '#',
        exact: 'task.sent',
        oneWord: 'task.*',
        anyWords: 'task.#',
        middle: 'task.*.end',
        prefix: '*.online',
      };
      const listening: Record<string, Heard> = {};
      for (const [name, pattern] of Object.entries(patterns)) listening[name] = await hear(broker, TOPIC, pattern, mark);
      const keys = ['task', 'task.sent', 'task.a.end', 'task.a.b.end', 'worker.online', 'taskless.sent', 'last'];
      for (const key of keys) await tell(broker, TOPIC, key, mark);
      // the broadcasts of one sender come in order, so whoever has heard the last has heard all; the others are asked after it
      await heard(listening['all'] as Heard, keys.length);
      await heard(listening['anyWords'] as Heard, 4);
      await heard(listening['prefix'] as Heard, 1);
      expect(Object.fromEntries(Object.entries(listening).map(([name, one]) => [name, one.keys]))).toEqual({
        all: keys,
        exact: ['task.sent'],
        oneWord: ['task.sent'],
        anyWords: ['task', 'task.sent', 'task.a.end', 'task.a.b.end'],
        middle: ['task.a.end'],
        prefix: ['worker.online'],
      });
    });

    it('stays within its exchange', async (fixture) => {
      const mark = uniqueQueue('mark');
      const events = await hear(fixture.broker, TOPIC, '#', mark);
      const control = await hear(fixture.broker, FANOUT, '#', mark);
      await tell(fixture.broker, FANOUT, '', mark, '{"n":1}');
      await tell(fixture.broker, TOPIC, 'task.sent', mark, '{"n":2}');
      await heard(events, 1);
      await heard(control, 1);
      expect(events.broadcasts.map(({ message: got }) => bodyBytes(got).toString())).toEqual(['{"n":2}']);
      expect(control.broadcasts.map(({ message: got }) => bodyBytes(got).toString())).toEqual(['{"n":1}']);
    });

    it('ends for a listener that closes, and not for the others', async (fixture) => {
      const mark = uniqueQueue('mark');
      const leaving = await hear(fixture.broker, TOPIC, '#', mark);
      const staying = await hear(fixture.broker, TOPIC, '#', mark);
      await tell(fixture.broker, TOPIC, 'one', mark);
      await heard(leaving, 1);
      await leaving.subscription.close();
      await leaving.subscription.close();
      await tell(fixture.broker, TOPIC, 'two', mark);
      await heard(staying, 2);
      expect(leaving.keys).toEqual(['one']);
      await staying.subscription.close();
    });

    it('is not heard any more by a broker that has closed', async (fixture) => {
      const mark = uniqueQueue('mark');
      const leaving = await fixture.another();
      const closed = await hear(leaving, TOPIC, '#', mark);
      const staying = await hear(fixture.broker, TOPIC, '#', mark);
      await leaving.close();
      await tell(fixture.broker, TOPIC, 'one', mark);
      await heard(staying, 1);
      expect(closed.keys).toEqual([]);
    });

    it('is told from one that nobody heard', async (fixture) => {
      const [exchange, mark] = [uniqueQueue('exchange'), uniqueQueue('mark')];
      const { broker } = fixture;
      expect(await tell(broker, exchange, 'task.multi', mark)).toBe(0);
      const one = await hear(await fixture.another(), exchange, 'task.#', mark);
      expect(await tell(broker, exchange, 'task.multi', mark)).not.toBe(0);
      expect(await tell(broker, exchange, 'worker.online', mark)).toBe(0);
      await heard(one, 1);
      await one.subscription.close();
      expect(await tell(broker, exchange, 'task.multi', mark)).toBe(0);
    });

    can(
      'countsListeners',
      'tells how many listen, who have closed or listen to something else left out',
      async (fixture) => {
        const mark = uniqueQueue('mark');
        const { broker } = fixture;
        expect(await tell(broker, FANOUT, '', mark)).toBe(0);
        const here = await hear(broker, FANOUT, '', mark);
        const there = await hear(await fixture.another(), FANOUT, '', mark);
        await hear(await fixture.another(), TOPIC, 'task.#', mark);
        expect(await tell(broker, FANOUT, '', mark)).toBe(2);
        expect(await tell(broker, TOPIC, 'task.sent', mark)).toBe(1);
        expect(await tell(broker, TOPIC, 'worker.online', mark)).toBe(0);
        await there.subscription.close();
        expect(await tell(broker, FANOUT, '', mark)).toBe(1);
        await here.subscription.close();
        expect(await tell(broker, FANOUT, '', mark)).toBe(0);
      },
      async (fixture) => {
        const mark = uniqueQueue('mark');
        await hear(fixture.broker, FANOUT, '', mark);
        expect(await tell(fixture.broker, FANOUT, '', mark)).toBeNull();
        expect(fixture.broker.capabilities.countsListeners).not.toBe(true);
      },
    );

    can('connections', 'is heard again after the connection was lost', async (fixture) => {
      const mark = uniqueQueue('mark');
      const one = await hear(fixture.broker, FANOUT, '', mark);
      const other = await fixture.another();
      await tell(other, FANOUT, '', mark);
      await heard(one, 1);
      await fixture.breakConnections?.();
      // what is told while it is away is missed, as broadcasts are
      await until(
        async () => {
          await tell(other, FANOUT, '', mark).catch(() => null);
          return one.keys.length > 1;
        },
        'a broadcast after the break',
        patienceMs,
      );
    });

    it('goes nowhere in peace when nobody listens', async (fixture) => {
      await tell(fixture.broker, TOPIC, 'nobody', 'nobody');
      await tell(fixture.broker, FANOUT, '', 'nobody');
    });
  });
}
