/** The memory drivers against both conformance suites. */
import { crashMemoryBroker, holdMemorySpace, openMemoryBroker } from '../../src/brokers/memory/index.js';
import type { Broker } from '../../src/brokers/broker.js';
import { silentLogger } from '../../src/core/logger.js';
import { brokerConformance, type BrokerFixture } from '../../src/testing/broker-conformance.js';

let count = 0;

async function openBrokerFixture(): Promise<BrokerFixture> {
  count += 1;
  const options = { url: `memory:conformance-${count}`, logger: silentLogger, role: 'engine' } as const;
  const space = holdMemorySpace(options.url);
  const brokers: Broker[] = [];
  const another = async (): Promise<Broker> => {
    const broker = await openMemoryBroker(options);
    brokers.push(broker);
    return broker;
  };
  return {
    broker: await another(),
    another,
    putRaw: async (queue, bytes) => space.putRaw(queue, bytes),
    dead: async () => space.dead,
    crash: async (broker) => crashMemoryBroker(broker),
    loseDeliveries: async () => space.loseDeliveries(),
    async close() {
      for (const broker of brokers) await broker.close();
      space.release();
    },
  };
}

brokerConformance('memory', openBrokerFixture, {
  gaps: [
    { capability: 'shared', why: 'it lives in one process' },
    { capability: 'durable', why: 'it lives in memory' },
    { capability: 'celery', why: 'it lives in one process' },
    { capability: 'connections', why: 'it has none' },
    { capability: 'outage', why: 'it is there as long as its process' },
    { capability: 'restart', why: 'it ends with its process' },
  ],
});
