/** The RabbitMQ driver when connections, channels or the broker itself misbehave. */
import { expect, test } from 'vitest';
import {
  Collector,
  drain,
  expectDepth,
  ids,
  outgoing,
  sendIds,
  uniqueQueue,
  until,
} from '../../src/testing/conformance/broker-kit.js';
import { onPrivateNode } from './private-node.js';

onPrivateNode('RabbitMQ connections', (node) => {
  test('a declaration that gets no answer fails at the deadline as not sent, and the next one works', async () => {
    const { broker, proxy } = await node.open();
    await sendIds(broker, uniqueQueue('warm'), ['x']);
    proxy.silence(true);
    const [result] = await broker.publish([outgoing(uniqueQueue('new'), 'x')], { timeoutMs: 300 });
    expect(result).toMatchObject({ code: 'E_PUBLISH_TIMEOUT', outcome: 'not-sent', taskId: 'x' });
    proxy.silence(false);
    await sendIds(broker, uniqueQueue('after'), ['x']);
  });

  test('what was never written is known not to be sent, what was written is not known', async () => {
    const { broker, proxy } = await node.open();
    const queue = uniqueQueue('window');
    await sendIds(broker, queue, ['warm']);
    proxy.silence(true);
    // more than may be unconfirmed at once
    const results = await broker.publish(
      ids(queue, 1, 10_000).map((id) => outgoing(queue, id)),
      { timeoutMs: 500 },
    );
    const outcomes = results.map((result) => result?.outcome);
    const unknown = outcomes.indexOf('not-sent');
    expect(unknown).toBe(4_096);
    expect(outcomes.slice(0, unknown).every((outcome) => outcome === 'unknown')).toBe(true);
    expect(outcomes.slice(unknown).every((outcome) => outcome === 'not-sent')).toBe(true);
    proxy.silence(false);
    await sendIds(broker, queue, ['last']);
    // nothing of what is known not to be sent came after all
    await expectDepth(broker, queue, { ready: 4_096 + 2 });
  });

  test('a batch in flight when the connection breaks is confirmed on the next one, in order', async () => {
    const { broker, proxy } = await node.open();
    const queue = uniqueQueue('in-flight');
    await sendIds(broker, queue, ['warm']);
    const wanted = ids(queue, 1, 6_000);
    const sending = broker.publish(
      wanted.map((id) => outgoing(queue, id)),
      { timeoutMs: 20_000 },
    );
    await until(async () => ((await (await node.open()).broker.depth([queue]))[0]?.ready ?? 0) > 100, 'some to have arrived');
    proxy.cut();
    expect((await sending).every((result) => result === null)).toBe(true);
    const collector = await Collector.open(broker, { [queue]: 500 }, { acking: true });
    await until(
      () => new Set(collector.ids).size === wanted.length + 1,
      () => `all, ${new Set(collector.ids).size} came`,
    );
    // those that were confirmed or not known to be came again, after the break, still in order
    const firsts = [...new Set(collector.ids)];
    expect(firsts).toEqual(['warm', ...wanted]);
  });

  test('under a memory alarm sends fail typed at their deadline, acknowledgements go on, and sends work again after it', async () => {
    const { broker } = await node.open();
    const queue = uniqueQueue('alarm');
    await sendIds(broker, queue, ids(queue, 1, 3));
    const collector = await Collector.open(broker, { [queue]: 3 });
    await collector.got(3);
    let isOver = false;
    const end = async (): Promise<void> => {
      if (!isOver) await node.server.ask('eval', 'rabbit_alarm:clear_alarm({resource_limit, memory, node()}).');
      isOver = true;
    };
    await node.server.ask('eval', 'rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []}).');
    try {
      // the broker tells a publisher that it is blocked once it publishes: the first is of unknown fate, later ones are not written
      const [first] = await broker.publish([outgoing(queue, 'first')], { timeoutMs: 400 });
      expect(first).toMatchObject({ code: 'E_PUBLISH_TIMEOUT', outcome: 'unknown' });
      const [second] = await broker.publish([outgoing(queue, 'second')], { timeoutMs: 400 });
      expect(second).toMatchObject({ code: 'E_BROKER_FULL', outcome: 'not-sent' });
      expect(second?.message).toMatch(/low on memory/);
      await collector.ack(...collector.arrivals);
      await expectDepth(broker, queue, { ready: 0 });
      await collector.consumer.pause(); // or it would prefetch what comes now, and hand it back in its own time
      const waiting = broker.publish([outgoing(queue, 'third')], { timeoutMs: 15_000 });
      await end();
      expect(await waiting).toEqual([null]);
    } finally {
      await end();
    }
    const left = await drain(broker, queue, 2);
    expect(left).toEqual(['first', 'third']);
  });

  test('a delivery that times out closes its channel (406), never the consumer: it is lost, told of, and comes again', async () => {
    node.server.ctl(
      'eval',
      'application:set_env(rabbit, consumer_timeout, 300), application:set_env(rabbit, channel_tick_interval, 200).',
    );
    const { broker } = await node.open();
    const queue = uniqueQueue('timeout');
    await sendIds(broker, queue, ['slow']);
    const collector = await Collector.open(broker, { [queue]: 1 });
    try {
      await collector.got(1);
      await until(() => collector.lost.length > 0, 'the delivery to be lost');
      expect(collector.lost).toEqual([collector.delivery(0).tag]);
    } finally {
      node.server.ctl(
        'eval',
        'application:set_env(rabbit, consumer_timeout, 1800000), application:set_env(rabbit, channel_tick_interval, 60000).',
      );
    }
    collector.consumer.grant(queue, 1);
    await collector.got(2);
    expect(collector.delivery(1)).toMatchObject({ redelivered: true });
    await collector.ack(collector.delivery(1));
    expect(collector.states).toEqual(['connected', 'disconnected', 'connected']);
    expect(await broker.publish([outgoing(queue, 'still')], { timeoutMs: 5_000 })).toEqual([null]);
  });

  test('kill -9 of the broker loses nothing that was confirmed, and both sides come back by themselves', async () => {
    const { broker } = await node.open();
    const queue = uniqueQueue('kill');
    const collector = await Collector.open(broker, { [queue]: 50 });
    const confirmed: string[] = [];
    const arrived = new Set<string>();
    let done = 0;
    let going = true;
    const consuming = (async () => {
      while (going || done < collector.arrivals.length) {
        const next = collector.arrivals.slice(done);
        done += next.length;
        for (let index = done - next.length; index < done; index++)
          arrived.add(String(collector.delivery(index).message.headers['id']));
        // 'lost' for those whose answer the kill took: the broker may have removed them all the same, and then none of them comes again
        await collector.settle(...next.map((arrival) => ({ kind: 'ack', arrival }) as const));
        if (next.length > 0) collector.consumer.grant(queue, next.length);
        const seen = done;
        await until(() => collector.arrivals.length > seen || !going, 'more', 60_000);
      }
    })();
    const sending = (async () => {
      for (let at = 1; at <= 1_500; at += 50) {
        const batch = ids(queue, at, at + 49);
        const results = await broker.publish(
          batch.map((id) => outgoing(queue, id)),
          { timeoutMs: 50_000 },
        );
        results.forEach((result, index) => result === null && confirmed.push(batch[index] as string));
      }
    })();
    await until(() => confirmed.length >= 300, 'the first to be confirmed');
    await node.server.kill9();
    await node.server.restart();
    await sending;
    expect(confirmed).toHaveLength(1_500);
    await until(
      () => confirmed.every((id) => arrived.has(id)),
      () => `all to arrive, ${arrived.size} have`,
      30_000,
    );
    going = false;
    await consuming;
    await expectDepth(broker, queue, { ready: 0, unacked: 0 });
  }, 90_000);

  test('closing leaves no connection and no listener queue behind', async () => {
    const { broker } = await node.open();
    const queue = uniqueQueue('leave');
    await sendIds(broker, queue, ['x']);
    const collector = await Collector.open(broker, { [queue]: 1 });
    await collector.got(1);
    await broker.listen('celeryev', '#', () => undefined);
    await broker.close();
    await until(async () => !(await node.server.ask('list_queues', 'name')).includes('celeryev'), 'the listener queue to go');
    await until(
      async () => !(await node.server.ask('list_connections', 'client_properties')).includes('lovage engine'),
      'our connections to go',
    );
  });

  test('wrong credentials and a missing virtual host are refused with their own code, at once', async () => {
    const { openRabbitmqBroker } = await import('../../src/brokers/rabbitmq/index.js');
    const { silentLogger } = await import('../../src/core/logger.js');
    for (const [user, vhost] of [
      ['guest:wrong', ''],
      ['guest:guest', 'nowhere'],
    ]) {
      const url = `amqp://${user}@127.0.0.1:${node.server.port}/${vhost}`;
      await using broker = await openRabbitmqBroker({ url, logger: silentLogger, role: 'client' });
      const startMs = performance.now();
      await expect(broker.connect({ timeoutMs: 15_000 })).rejects.toMatchObject({
        code: 'E_BROKER_AUTH',
        message: expect.not.stringContaining('wrong'),
      });
      expect(performance.now() - startMs).toBeLessThan(10_000);
    }
  });

  test('a broker that is not there is unreachable, and a send says that nothing was sent', async () => {
    const { broker, proxy } = await node.open();
    await proxy.refuse();
    await expect(broker.connect({ timeoutMs: 300 })).rejects.toMatchObject({ code: 'E_BROKER_UNREACHABLE' });
    const [result] = await broker.publish([outgoing('q', 'x')], { timeoutMs: 300 });
    expect(result).toMatchObject({ code: 'E_PUBLISH_TIMEOUT', outcome: 'not-sent' });
  });
});
