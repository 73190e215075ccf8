/** The memory drivers against both conformance suites. */

import type { Broker } from '../../src/brokers/broker.js';
import { crashMemoryBroker, holdMemorySpace, openMemoryBroker } from '../../src/brokers/memory/index.js';
import { silentLogger } from '../../src/core/logger.js';
import { holdMemoryResults, openMemoryResults } from '../../src/results/memory/index.js';
import type { ResultStore } from '../../src/results/result-store.js';
import { type BrokerFixture, brokerConformance, parkedEntries } from '../../src/testing/broker-conformance.js';
import { type ResultStoreFixture, resultStoreConformance } from '../../src/testing/result-store-conformance.js';

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
  const broker = await another();
  return {
    broker,
    another,
    putRaw: async (queue, bytes) => space.putRaw(queue, bytes),
    dead: () => parkedEntries(broker),
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
    { capability: 'queueDeclarations', why: 'a queue is its name and nothing more' },
    { capability: 'durable', why: 'it lives in memory' },
    { capability: 'celery', why: 'it lives in one process' },
    { capability: 'connections', why: 'it has none' },
    { capability: 'outage', why: 'it is there as long as its process' },
    { capability: 'restart', why: 'it ends with its process' },
  ],
});

async function openResultsFixture(): Promise<ResultStoreFixture> {
  count += 1;
  const options = { url: `memory:conformance-${count}`, logger: silentLogger, role: 'engine' } as const;
  const space = holdMemoryResults(options.url);
  const stores: ResultStore[] = [];
  const another = async (): Promise<ResultStore> => {
    const store = await openMemoryResults(options);
    stores.push(store);
    return store;
  };
  return {
    store: await another(),
    another,
    openWaits: async () => space.waits(),
    async close() {
      for (const store of stores) await store.close();
      space.release();
    },
  };
}

resultStoreConformance('memory', openResultsFixture, {
  gaps: [
    { capability: 'connections', why: 'it has none' },
    { capability: 'sendKeys', why: 'it lives in one process' },
  ],
});
