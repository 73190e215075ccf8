/** The RabbitMQ driver against the broker suite, on a private node; each broker behind a proxy of its own that can be cut. */
import { connect } from 'amqplib';
import { afterAll, beforeAll, describe } from 'vitest';
import type { Broker } from '../../src/brokers/broker.js';
import { DEAD_HEADERS, DEAD_QUEUE, openRabbitmqBroker } from '../../src/brokers/rabbitmq/index.js';
import { silentLogger } from '../../src/core/logger.js';
import { openRpcResults, type RpcResultStore } from '../../src/results/rpc/index.js';
import { type BrokerFixture, brokerConformance, type ParkedEntry } from '../../src/testing/broker-conformance.js';
import { type ResultStoreFixture, resultStoreConformance } from '../../src/testing/result-store-conformance.js';
import { type CuttableProxy, openCuttableProxy } from '../rabbitmq/cuttable-proxy.js';
import { missingRabbitmq, type RabbitmqServer, startRabbitmq } from '../support/rabbitmq-server.js';

const missing = missingRabbitmq();
if (missing && process.env['CI'] === 'true') throw new Error(missing);

describe.skipIf(missing !== null)(`on a private node${missing ? ` [skipped: ${missing}]` : ''}`, () => {
  let server: RabbitmqServer;
  beforeAll(async () => {
    server = await startRabbitmq();
  });
  afterAll(() => server?.stop());

  const fixture = (query: string) => async (): Promise<BrokerFixture> => {
    const opened: { readonly broker: Broker; readonly proxy: CuttableProxy }[] = [];
    const another = async (): Promise<Broker> => {
      const proxy = await openCuttableProxy(server.port);
      const broker = await openRabbitmqBroker({
        url: `amqp://guest:guest@127.0.0.1:${proxy.port}/${query}`,
        logger: silentLogger,
        role: 'engine',
      });
      opened.push({ broker, proxy });
      return broker;
    };
    const raw = async <T>(
      work: (channel: Awaited<ReturnType<Awaited<ReturnType<typeof connect>>['createConfirmChannel']>>) => Promise<T>,
    ): Promise<T> => {
      const connection = await connect(server.url);
      try {
        return await work(await connection.createConfirmChannel());
      } finally {
        await connection.close();
      }
    };
    return {
      broker: await another(),
      another,
      putRaw: (queue, bytes) =>
        raw(async (channel) => {
          channel.sendToQueue(queue, Buffer.from(bytes));
          await channel.waitForConfirms();
        }),
      dead: () =>
        raw(async (channel) => {
          const entries: ParkedEntry[] = [];
          await channel.assertQueue(DEAD_QUEUE);
          for (let next = await channel.get(DEAD_QUEUE); next !== false; next = await channel.get(DEAD_QUEUE)) {
            const headers = next.properties.headers as Record<string, string>;
            entries.push({
              queue: headers[DEAD_HEADERS.queue] ?? '',
              code: headers[DEAD_HEADERS.code] ?? '',
              reason: headers[DEAD_HEADERS.reason] ?? '',
              raw: next.content,
            });
          }
          return entries;
        }),
      crash: async (broker) => opened.find((one) => one.broker === broker)?.proxy.refuse(),
      loseDeliveries: async () => opened.forEach(({ proxy }) => proxy.cut()),
      breakConnections: async () => opened.forEach(({ proxy }) => proxy.cut()),
      outage: async () => {
        opened.forEach(({ proxy }) => proxy.silence(true));
        return async () => opened.forEach(({ proxy }) => proxy.silence(false));
      },
      restart: () => server.restart(),
      async close() {
        await Promise.all(opened.map(({ broker }) => broker.close()));
        await Promise.all(opened.map(({ proxy }) => proxy.close()));
      },
    };
  };

  const gaps = [
    { capability: 'peek', why: 'a message must be taken and put back, which marks it as redelivered' },
    { capability: 'countsLosses', why: 'the first worker that dies with a message is not counted' },
    { capability: 'countsListeners', why: 'it does not tell to how many queues a broadcast went' },
    { capability: 'recordsRevocations', why: 'it has no place for them' },
    { capability: 'dedupe', why: 'it has no place for keys: the result store keeps them' },
    { capability: 'withdraws', why: 'no message can be taken out of a queue by its id' },
  ] as const;
  brokerConformance('rabbitmq', fixture(''), {
    gaps: [...gaps, { capability: 'priorities', why: 'queues are declared plainly, as Celery does' }],
  });
  brokerConformance('rabbitmq with max_priority', fixture('?max_priority=9'), { gaps });

  const results = async (): Promise<ResultStoreFixture> => {
    const stores: RpcResultStore[] = [];
    const proxy = await openCuttableProxy(server.port);
    const open = async (role: 'client' | 'engine'): Promise<RpcResultStore> => {
      const store = await openRpcResults({ url: `amqp://guest:guest@127.0.0.1:${proxy.port}`, logger: silentLogger, role });
      stores.push(store);
      return store;
    };
    return {
      store: await open('client'),
      another: () => open('engine'),
      openWaits: async () => stores.reduce((sum, store) => sum + store.waits, 0),
      breakConnections: async () => proxy.cut(),
      async close() {
        await Promise.all(stores.map((store) => store.close()));
        await proxy.close();
      },
    };
  };
  resultStoreConformance('rpc', results, {
    gaps: [
      { capability: 'readableByAnyone', why: 'a result goes to its sender and is kept nowhere else' },
      { capability: 'fence', why: 'there is no store that could refuse one' },
      { capability: 'sendKeys', why: 'nothing is kept' },
      { capability: 'chords', why: 'nobody but the sender gets results' },
      { capability: 'steps', why: 'nothing is kept that the next try could read' },
      { capability: 'ttl', why: 'the sender keeps what arrived for a day, whatever the worker says' },
    ],
  });
});
