/** What counts as a loss on RabbitMQ, and what does not: processes that are killed, connections that break, brokers that restart. */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import type { Broker, Delivery } from '../../src/brokers/broker.js';
import { sleep } from '../../src/core/clock.js';
import { type Logger, silentLogger } from '../../src/core/logger.js';
import { Collector, expectDepth, sendIds, uniqueQueue, until } from '../../src/testing/conformance/broker-kit.js';
import { onPrivateNode } from './private-node.js';

const LEASE_MS = 2_000;
/** Where nobody has to come back within the lease. */
const SHORT_MS = 500;
/** For a copy to come back (2 s), a look of one lease, and a slow machine. */
const PATIENCE_MS = LEASE_MS + 12_000;

onPrivateNode('losses on RabbitMQ', (node) => {
  const children: ChildProcess[] = [];
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
  });

  /** A process that takes one delivery of the queue, secures it as the engine does before a start, and is killed. */
  const dyingProcess = async (queue: string): Promise<string> => {
    const script = fileURLToPath(new URL('claim-holder.ts', import.meta.url));
    const child = spawn(process.execPath, ['--import', 'tsx', script, node.server.url, queue, String(LEASE_MS)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    children.push(child);
    let said = '';
    child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
    await until(() => /started.*\n/.test(said), 'the delivery in the child', 30_000);
    child.kill('SIGKILL');
    return /started .*/.exec(said)?.[0] ?? '';
  };

  const holding = async (broker: Broker, queue: string, isSecured = true, leaseMs = LEASE_MS): Promise<Collector> => {
    const collector = await Collector.open(broker, { [queue]: 1 }, { leaseMs });
    await collector.got(1, PATIENCE_MS);
    if (isSecured) expect(await collector.consumer.secure?.(collector.delivery(0))).toBe(true);
    return collector;
  };

  const next = async (broker: Broker, queue: string): Promise<Delivery> => {
    const collector = await holding(broker, queue, false);
    const delivery = collector.delivery(0);
    await collector.ack(delivery);
    await collector.consumer.close({ timeoutMs: 5_000 });
    await expectDepth(broker, queue, { ready: 0 });
    return delivery;
  };

  /** A message that somebody had before: what the next worker secures is counted. */
  const sendRedelivered = async (queue: string, id = 'x'): Promise<void> => {
    const { broker } = await node.open();
    await sendIds(broker, queue, [id]);
    const first = await holding(broker, queue, false);
    await first.consumer.close({ timeoutMs: 5_000 });
  };

  test('each process that is killed with the message counts, but for the first', async () => {
    const queue = uniqueQueue('killed');
    const { broker } = await node.open();
    await sendIds(broker, queue, ['x']);
    const said: string[] = [];
    for (let nth = 0; nth < 4; nth += 1) said.push(await dyingProcess(queue));
    expect(said).toEqual([0, 0, 1, 2].map((losses) => `started after ${losses} losses`));
    const last = await next(broker, queue);
    expect(last).toMatchObject({ losses: 3, redelivered: true });
    expect(Object.keys(last.message.headers).filter((name) => name.startsWith('lovage_'))).toEqual([]);
  }, 120_000);

  test('a delivery that was never started costs nothing when its process is killed', async () => {
    const queue = uniqueQueue('unstarted');
    await sendRedelivered(queue);
    const { broker, proxy } = await node.open();
    await holding(broker, queue, false);
    await proxy.refuse();
    const { broker: heir } = await node.open();
    expect(await next(heir, queue)).toMatchObject({ losses: 0, redelivered: true });
  });

  test('a connection that breaks counts nothing, whoever gets the message next', async () => {
    const queue = uniqueQueue('cut');
    await sendRedelivered(queue);
    const { broker, proxy } = await node.open();
    const collector = await holding(broker, queue);
    proxy.cut();
    await until(() => collector.lost.length === 1, 'the loss of the channel');
    await until(() => collector.states.at(-1) === 'connected', 'the connection', 20_000);
    await collector.consumer.pause();
    // Its first holder lives: another looks for it and finds it.
    const { broker: other } = await node.open();
    expect(await next(other, queue)).toMatchObject({ losses: 0, redelivered: true });
  }, 60_000);

  test('a broker that is killed and started again counts nothing', async () => {
    const queue = uniqueQueue('restart');
    await sendRedelivered(queue);
    const { broker } = await node.open();
    const one = await holding(broker, queue);
    await one.consumer.pause(); // its connection comes back, and the message goes to somebody else
    const { broker: other } = await node.open();
    const two = await Collector.open(other, { [queue]: 1 }, { leaseMs: LEASE_MS });
    await node.server.restart();
    await two.got(1, 60_000);
    expect(two.delivery(0)).toMatchObject({ losses: 0, redelivered: true });
    await two.ack(two.delivery(0));
  }, 120_000);

  test('a claim survives kill -9 of the broker, also when its queue was made for it a moment before', async () => {
    const queue = uniqueQueue('young-claim');
    await sendRedelivered(queue);
    await holding((await node.open()).broker, queue);
    // by then the broker has written that the original was acknowledged: the copy is all there is
    await sleep(400);
    await node.server.restart();
    const { broker: heir } = await node.open();
    expect((await next(heir, queue)).message.headers).toMatchObject({ id: 'x' });
  }, 120_000);

  test.each([
    ['handed back by a worker that closes', async (held: Collector) => void (await held.consumer.close({ timeoutMs: 5_000 }))],
    ['put to the front', (held: Collector) => held.settle({ kind: 'requeue', arrival: held.delivery(0), where: 'front' })],
    ['put to the back', (held: Collector) => held.settle({ kind: 'requeue', arrival: held.delivery(0), where: 'back' })],
    ['deferred', (held: Collector) => held.settle({ kind: 'defer', arrival: held.delivery(0), untilMs: Date.now() + 300 })],
  ])(
    'a loss stays when the message is %s, and none is added',
    async (_, settle) => {
      const keeps = async (isSecured: boolean): Promise<void> => {
        const queue = uniqueQueue('kept');
        await sendRedelivered(queue);
        const dying = await node.open();
        await holding(dying.broker, queue, true, SHORT_MS);
        await dying.proxy.refuse();
        const { broker, proxy } = await node.open();
        const held = await holding(broker, queue, isSecured, SHORT_MS);
        expect(held.delivery(0).losses).toBe(1);
        await held.consumer.pause(); // or it might get its own hand-back
        await settle(held);
        await held.consumer.close({ timeoutMs: 5_000 });
        // Gone for good: whoever still looked for it would call it dead.
        await broker.close();
        await proxy.close();
        const { broker: last } = await node.open();
        expect(await next(last, queue)).toMatchObject({ losses: 1, redelivered: true });
      };
      await Promise.all([keeps(true), keeps(false)]);
    },
    90_000,
  );

  test('a successor in the place of a message begins without losses', async () => {
    const queue = uniqueQueue('successor');
    await sendRedelivered(queue);
    const dying = await node.open();
    await holding(dying.broker, queue);
    await dying.proxy.refuse();
    const { broker } = await node.open();
    const held = await holding(broker, queue);
    const arrival = held.delivery(0);
    expect(arrival.losses).toBe(1);
    await held.consumer.pause();
    const message = { ...arrival.message, headers: { ...arrival.message.headers, retries: 1 } };
    await held.settle({ kind: 'defer', arrival, untilMs: 0, message });
    await held.consumer.close({ timeoutMs: 5_000 });
    expect((await next(broker, queue)).losses).toBe(0);
  }, 60_000);

  test('while the last holder is looked for, a worker that stops gives the message back, and one that loses its connection gets it again', async () => {
    const queue = uniqueQueue('undecided');
    await sendRedelivered(queue);
    const dying = await node.open();
    await holding(dying.broker, queue);
    await dying.proxy.refuse();
    const { broker, proxy } = await node.open();
    let looks = 0;
    const logger: Logger = {
      ...silentLogger,
      debug: (_, text) => void (text === 'delivered again' && (looks += 1)),
      child: () => logger,
    };
    // A look of a minute: everything here happens during it.
    const patient = await Collector.open(broker, { [queue]: 1 }, { leaseMs: 60_000, logger });
    await until(() => looks === 1, 'the message at the patient one', 20_000);
    proxy.cut();
    await until(() => patient.states.join() === 'connected,disconnected,connected', 'the connection again', 20_000);
    await until(() => looks === 2, 'the message at the patient one again', 20_000);
    // The engine never heard of the message, and its credit was not touched.
    expect([patient.ids, patient.lost]).toEqual([[], []]);
    await patient.consumer.close({ timeoutMs: 5_000 });
    const { broker: heir } = await node.open();
    expect(await next(heir, queue)).toMatchObject({ losses: 1, redelivered: true });
  }, 90_000);

  test('headers that only look like a claim of ours are taken off and believed in nothing', async () => {
    const queue = uniqueQueue('forged');
    const { broker } = await node.open();
    await broker.declare(queue);
    await sendIds(broker, queue, ['template']);
    const template = await next(broker, queue);
    await node.raw(async (channel) => {
      const marks = [
        { lovage_holder: '00000000-0000-4000-8000-000000000000', lovage_claim: 'x', lovage_redelivered: true },
        { lovage_deaths: 7 },
        { lovage_deaths: 'many', lovage_redelivered: true },
        { lovage_holder: 'x'.repeat(300), lovage_redelivered: true, 'x-first-death-reason': 'expired' },
        { lovage_holder: { nested: [] }, lovage_deaths: -1, lovage_redelivered: true, 'x-first-death-reason': 'expired' },
      ];
      marks.forEach((mark, index) =>
        channel.sendToQueue(queue, Buffer.from('[[], {}, {}]'), {
          contentType: 'application/json',
          contentEncoding: 'utf-8',
          headers: { ...template.message.headers, id: `${index}`, ...mark },
        }),
      );
      await channel.checkQueue(queue);
    });
    const collector = await Collector.open(broker, { [queue]: 5 }, { leaseMs: 60_000 });
    await collector.got(5);
    for (let index = 0; index < 5; index += 1) {
      const { message, losses } = collector.delivery(index);
      expect(losses).toBe(0);
      expect(Object.keys(message.headers).filter((name) => name.startsWith('lovage_') || name.startsWith('x-'))).toEqual([]);
    }
    await collector.ack(...collector.arrivals);
  });
});
