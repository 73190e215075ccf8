/** The stores of schedules that need no server against their conformance suite. The file's writer thread runs the built package. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BeatStore } from '../../src/beat/beat-store.js';
import { openBeatStore } from '../../src/beat/from-url.js';
import { openBroker } from '../../src/brokers/from-url.js';
import { silentLogger } from '../../src/core/logger.js';
import { type BeatStoreFixture, beatStoreConformance } from '../../src/testing/conformance/beat-store.js';

let places = 0;

async function fixture(next: () => string, brokerUrl: string, remove: () => void): Promise<BeatStoreFixture> {
  const opened: { close(): Promise<void> }[] = [];
  const open = async (app: string): Promise<BeatStore> => {
    const store = await openBeatStore({ url: next(), app, logger: silentLogger, brokerUrl });
    opened.push(store);
    return store;
  };
  const broker = await openBroker({ url: brokerUrl, logger: silentLogger, role: 'client' });
  opened.push(broker);
  return {
    store: await open('one'),
    another: () => open('one'),
    ofAnotherApp: () => open('two'),
    sent: async (queue) =>
      (await broker.peek(queue, 10)).map((peeked) => ('message' in peeked ? String(peeked.message.headers['id']) : 'garbage')),
    async close() {
      for (const each of opened) await each.close();
      remove();
    },
  };
}

beatStoreConformance('memory', () => {
  places += 1;
  const url = `memory:beat-suite-${places}`;
  return fixture(
    () => url,
    url,
    () => {},
  );
});

beatStoreConformance('file', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-beat-'));
  const path = join(folder, 'queue.db');
  let handles = 1_024;
  const next = (): string => {
    handles += 1;
    return `file:${path}?maxSize=${handles}MiB`;
  };
  return fixture(next, `file:${path}`, () => rmSync(folder, { recursive: true, force: true }));
});
