/**
 * RabbitMQ goes away in every way that networks and operators know, and comes back: consuming goes on within five seconds, nothing is lost,
 * and `lastAliveMs()` tells how long nobody has answered.
 */
import { expect, test } from 'vitest';
import type { Broker } from '../../src/brokers/broker.js';
import { openRabbitmqBroker } from '../../src/brokers/rabbitmq/index.js';
import { silentLogger } from '../../src/core/logger.js';
import { Collector, expectDepth, idOf, outgoing, uniqueQueue, until } from '../../src/testing/conformance/broker-kit.js';
import { RESENT_HEADER } from '../../src/wire/own-headers.js';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.js';
import { onPrivateNode } from './private-node.js';

const BACK_WITHIN_MS = 5_000;
/** At full size (LOVAGE_FULL=1) a silence is so long that heartbeats end on both sides; else only our own questions remain unanswered. */
const SILENCE_MS = process.env['LOVAGE_FULL'] === '1' ? 30_000 : 15_000;

/** A worker and a sender, each through a network of its own; every message is numbered. */
class Traffic {
  readonly sent = new Set<string>();
  /** Arrived and acknowledged. Whether the broker has read the acknowledgement is not known of each: its answer may be lost. */
  readonly done = new Set<string>();
  /** Monotonic time of the last message that was acknowledged. */
  doneMs = 0;
  readonly collector: Collector;
  readonly queue: string;
  readonly #sender: Broker;
  #going = true;
  #sending = true;
  #looked = 0;
  #loops: Promise<unknown> = Promise.resolve();

  private constructor(sender: Broker, collector: Collector, queue: string) {
    this.#sender = sender;
    this.collector = collector;
    this.queue = queue;
  }

  static async start(sender: Broker, worker: Broker): Promise<Traffic> {
    const queue = uniqueQueue('traffic');
    const traffic = new Traffic(sender, await Collector.open(worker, { [queue]: 20 }), queue);
    traffic.#loops = Promise.all([traffic.#send(), traffic.#work()]);
    await traffic.flows();
    return traffic;
  }

  /** Waits until something that is sent from now on is done. */
  async flows(patienceMs = 10_000): Promise<void> {
    const fromMs = performance.now();
    await until(() => this.doneMs > fromMs, 'messages to flow', patienceMs);
  }

  /** Sends no more, and insists that everything that was confirmed is done and has left the queue. */
  async finish(): Promise<void> {
    this.#sending = false;
    await until(
      () => [...this.sent].every((id) => this.done.has(id)),
      () => `all to be done, ${[...this.sent].filter((id) => !this.done.has(id)).length} of ${this.sent.size} are not`,
      20_000,
    );
    await expectDepth(this.#sender, this.queue, { ready: 0 });
    this.stop();
    await this.#loops;
  }

  stop(): void {
    this.#going = false;
  }

  async #send(): Promise<void> {
    for (let number = 1; this.#going && this.#sending; number += 1) {
      const id = `${this.queue}.${number}`;
      const [failure] = await this.#sender.publish([outgoing(this.queue, id)], { timeoutMs: 1_000 }).catch(() => [undefined]);
      if (failure === null) this.sent.add(id);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async #work(): Promise<void> {
    const { collector } = this;
    while (this.#going) {
      const next = collector.arrivals.slice(this.#looked);
      this.#looked += next.length;
      const results = await collector.settle(...next.map((arrival) => ({ kind: 'ack', arrival }) as const));
      for (const arrival of next) this.done.add(idOf(arrival));
      if (results.includes('held')) this.doneMs = performance.now();
      if (next.length > 0) collector.consumer.grant(this.queue, next.length);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

onPrivateNode('RabbitMQ outages', (node) => {
  const target = (): { host: string; port: number } => ({ host: '127.0.0.1', port: node.server.port });

  /** Traffic whose worker is behind a proxy of faults; the sender is not. */
  async function withWorkerBehind(proxy: FaultProxy, check: (traffic: Traffic, worker: Broker) => Promise<void>): Promise<void> {
    const open = (url: string): Promise<Broker> => openRabbitmqBroker({ url, logger: silentLogger, role: 'engine' });
    await using sender = await open(node.server.url);
    await using worker = await open(proxy.url(node.server.url));
    const traffic = await Traffic.start(sender, worker);
    try {
      await check(traffic, worker);
      await traffic.finish();
    } finally {
      traffic.stop();
      await proxy.close();
    }
  }

  const silenceMs = (traffic: Traffic): number => performance.now() - traffic.collector.consumer.lastAliveMs();

  /** Waits until the worker has noticed: it has lost its deliveries, or says that nobody answers. */
  const unanswered = (traffic: Traffic, forMs: number): Promise<void> =>
    until(
      () => silenceMs(traffic) > forMs,
      () => `nobody to answer for ${forMs} ms, it is ${silenceMs(traffic)}`,
      forMs + 10_000,
    );

  test.concurrent.each<[string, (proxy: FaultProxy) => void]>([
    ['refuses connections', (proxy) => proxy.refuse()],
    ['is a black hole', (proxy) => proxy.blackHole()],
    ['loses what the broker sends', (proxy) => proxy.halfOpen('from-server')],
    ['loses what the worker sends', (proxy) => proxy.halfOpen('to-server')],
    ['holds everything back', (proxy) => proxy.stall()],
  ])(
    'a network that %s: the age of the last answer grows, and consuming goes on within 5 s of its return',
    async (_, fault) => {
      const proxy = await startFaultProxy({ target: target() });
      await withWorkerBehind(proxy, async (traffic) => {
        fault(proxy);
        await unanswered(traffic, SILENCE_MS);
        await proxy.pass();
        const backMs = performance.now();
        await traffic.flows(BACK_WITHIN_MS);
        expect(silenceMs(traffic)).toBeLessThan(BACK_WITHIN_MS);
        expect(performance.now() - backMs).toBeLessThan(BACK_WITHIN_MS);
      });
    },
    90_000,
  );

  test.concurrent('a connection that dies silently while new ones work is found by asking, and replaced', async () => {
    const proxy = await startFaultProxy({ target: target() });
    await withWorkerBehind(proxy, async (traffic) => {
      proxy.halfOpen('from-server');
      await until(() => proxy.swallowed > 0, 'bytes to be lost');
      await proxy.pass(); // what lost bytes stays silent
      await traffic.flows(30_000);
      expect(traffic.collector.states).toEqual(['connected', 'disconnected', 'connected']);
    });
  }, 90_000);

  test('connections closed by an operator come back at once', async () => {
    const proxy = await startFaultProxy({ target: target() });
    await withWorkerBehind(proxy, async (traffic) => {
      node.server.ctl('close_all_connections', 'maintenance');
      await traffic.flows(BACK_WITHIN_MS);
      expect(traffic.collector.states).toEqual(['connected', 'disconnected', 'connected']);
    });
  }, 60_000);

  test(`a broker that is stopped for ${SILENCE_MS / 1_000} s and continued: consuming goes on within 5 s, nothing is lost`, async () => {
    const proxy = await startFaultProxy({ target: target() });
    await withWorkerBehind(proxy, async (traffic) => {
      node.server.signal('SIGSTOP');
      try {
        await unanswered(traffic, SILENCE_MS);
      } finally {
        node.server.signal('SIGCONT');
      }
      await traffic.flows(BACK_WITHIN_MS);
    });
  }, 90_000);

  test('a broker that is killed and started again: consuming goes on within 5 s, nothing that was confirmed is lost', async () => {
    const proxy = await startFaultProxy({ target: target() });
    await withWorkerBehind(proxy, async (traffic) => {
      for (let round = 0; round < 2; round += 1) {
        await node.server.kill9();
        await node.server.restart();
        await traffic.flows(BACK_WITHIN_MS);
      }
    });
  }, 120_000);

  test('a memory alarm of 10 s: what runs ends and is acknowledged, sends fail typed at their deadline, and all flows within 5 s after it', async () => {
    const proxy = await startFaultProxy({ target: target() });
    await withWorkerBehind(proxy, async (traffic, worker) => {
      const queue = uniqueQueue('alarm');
      expect(await worker.publish([outgoing(queue, 'held')], { timeoutMs: 5_000 })).toEqual([null]);
      const holding = await Collector.open(worker, { [queue]: 1 });
      await holding.got(1);
      node.server.ctl('set_vm_memory_high_watermark', '0.00001');
      try {
        // The broker tells a publisher once it publishes: that message is of unknown fate, the next is known not to be sent.
        await until(
          async () => (await worker.publish([outgoing(queue, 'refused')], { timeoutMs: 500 }))[0]?.code === 'E_BROKER_FULL',
          'sends to be refused',
        );
        const [refused] = await worker.publish([outgoing(queue, 'refused')], { timeoutMs: 500 });
        expect(refused).toMatchObject({ code: 'E_BROKER_FULL', outcome: 'not-sent', taskId: 'refused' });
        await holding.ack(holding.delivery(0));
        await new Promise((resolve) => setTimeout(resolve, 10_000));
        expect(silenceMs(traffic)).toBeLessThan(30_000);
        expect([holding.lost, holding.states]).toEqual([[], ['connected']]);
      } finally {
        node.server.ctl('set_vm_memory_high_watermark', '0.4');
      }
      await traffic.flows(BACK_WITHIN_MS);
      await traffic.flows(BACK_WITHIN_MS);
      expect(await worker.publish([outgoing(queue, 'after')], { timeoutMs: BACK_WITHIN_MS })).toEqual([null]);
    });
  }, 90_000);

  test('what a broken connection leaves unconfirmed is published again, and the second copy says so', async () => {
    const proxy = await startFaultProxy({ target: target() });
    await using sender = await openRabbitmqBroker({ url: proxy.url(node.server.url), logger: silentLogger, role: 'engine' });
    await using worker = await openRabbitmqBroker({ url: node.server.url, logger: silentLogger, role: 'engine' });
    try {
      const queue = uniqueQueue('again');
      expect(await sender.publish([outgoing(queue, 'first')], { timeoutMs: 5_000 })).toEqual([null]);
      proxy.halfOpen('from-server');
      const sending = sender.publish([outgoing(queue, 'twice')], { timeoutMs: 20_000 });
      const collector = await Collector.open(worker, { [queue]: 10 });
      await collector.atLeast(2);
      proxy.reset();
      await proxy.pass();
      expect(await sending).toEqual([null]);
      await collector.got(3);
      expect(collector.ids).toEqual(['first', 'twice', 'twice']);
      const marks = [0, 1, 2].map((index) => collector.delivery(index).message.headers[RESENT_HEADER]);
      expect(marks).toEqual([undefined, undefined, true]);
    } finally {
      await proxy.close();
    }
  }, 40_000);

  test('closing ends soon also when nobody answers', async () => {
    const proxy = await startFaultProxy({ target: target() });
    const broker = await openRabbitmqBroker({ url: proxy.url(node.server.url), logger: silentLogger, role: 'engine' });
    try {
      const queue = uniqueQueue('closing');
      expect(await broker.publish([outgoing(queue, 'x')], { timeoutMs: 5_000 })).toEqual([null]);
      const collector = await Collector.open(broker, { [queue]: 1 });
      await collector.got(1);
      await broker.listen('celeryev', '#', () => undefined);
      proxy.stall();
      const startMs = performance.now();
      expect(await collector.consumer.close({ timeoutMs: 1_000 })).toBe(0); // nothing that we know to be handed back
      await broker.close();
      expect(performance.now() - startMs).toBeLessThan(6_000); // 1 + 0.6 + 0.6 on a quiet machine
    } finally {
      await proxy.close();
    }
  }, 30_000);
});
