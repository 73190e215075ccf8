/**
 * The file drivers against both conformance suites, each connection with a database handle of its own: in the caller's
 * loop as in an engine, and in a writer thread as in a client (which runs the built package).
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Broker } from '../../src/brokers/broker.js';
import { fileBrokerForTests, openFileBroker } from '../../src/brokers/file/index.js';
import { loadDriver } from '../../src/clients/sqlite/driver.js';
import { silentLogger } from '../../src/core/logger.js';
import { fileResultWaits, openFileResults } from '../../src/results/file/index.js';
import type { ResultStore } from '../../src/results/result-store.js';
import { type BrokerFixture, brokerConformance, parkedEntries } from '../../src/testing/broker-conformance.js';
import { type ResultStoreFixture, resultStoreConformance } from '../../src/testing/result-store-conformance.js';

/** A folder, and URLs of one file that do not share a handle in this process (they differ in a limit that nobody reaches). */
function newFile(): { path: string; nextUrl(): string; remove(): void } {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-file-'));
  const path = join(folder, 'queue.db');
  let count = 1_024;
  return {
    path,
    nextUrl() {
      count += 1;
      return `file:${path}?maxSize=${count}MiB`;
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

async function openBrokerFixture(role: 'engine' | 'client'): Promise<BrokerFixture> {
  const file = newFile();
  const brokers: Broker[] = [];
  const another = async (): Promise<Broker> => {
    const broker = await openFileBroker({ url: file.nextUrl(), logger: silentLogger, role });
    brokers.push(broker);
    return broker;
  };
  const broker = await another();
  const tools = fileBrokerForTests(broker);
  return {
    broker,
    another,
    putRaw: (queue, bytes) => tools.putRaw(queue, bytes),
    dead: () => parkedEntries(broker),
    crash: (crashed) => fileBrokerForTests(crashed).kill(),
    async loseDeliveries() {
      for (const each of brokers) await fileBrokerForTests(each).loseDeliveries();
    },
    async outage() {
      const blocker = (await loadDriver()).open(file.path);
      blocker.exec('PRAGMA busy_timeout = 5000');
      blocker.exec('BEGIN IMMEDIATE');
      return async () => {
        blocker.exec('ROLLBACK');
        blocker.close();
      };
    },
    async close() {
      for (const each of brokers) await each.close();
      file.remove();
    },
  };
}

for (const role of ['engine', 'client'] as const) {
  brokerConformance(`file, as ${role}`, () => openBrokerFixture(role), {
    gaps: [
      { capability: 'queueDeclarations', why: 'a queue is its name and nothing more' },
      { capability: 'celery', why: 'the file is read by Lovage only' },
      { capability: 'connections', why: 'it has none' },
      { capability: 'restart', why: 'there is no server' },
    ],
  });
}

async function openResultsFixture(role: 'engine' | 'client'): Promise<ResultStoreFixture> {
  const file = newFile();
  const stores: ResultStore[] = [];
  const another = async (): Promise<ResultStore> => {
    const store = await openFileResults({ url: file.nextUrl(), logger: silentLogger, role });
    stores.push(store);
    return store;
  };
  return {
    store: await another(),
    another,
    openWaits: async () => stores.reduce((sum, store) => sum + fileResultWaits(store), 0),
    async close() {
      for (const store of stores) await store.close();
      file.remove();
    },
  };
}

for (const role of ['engine', 'client'] as const) {
  resultStoreConformance(`file, as ${role}`, () => openResultsFixture(role), {
    gaps: [{ capability: 'connections', why: 'it has none' }],
  });
}
