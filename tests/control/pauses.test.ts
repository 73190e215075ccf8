/** Pauses without a server; the cases are in pause-cases.ts. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openMemoryBroker } from '../../src/brokers/memory/index.js';
import { silentLogger } from '../../src/core/logger.js';
import { pauseSuite } from './pause-cases.js';

pauseSuite('the memory broker', async () => {
  const url = 'memory:pauses';
  // what is in memory is forgotten when nobody holds it
  const held = await openMemoryBroker({ url, logger: silentLogger, role: 'client' });
  return { brokerUrl: url, resultUrl: url, close: () => held.close() };
});

pauseSuite('the file broker', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-pauses-'));
  const url = `file:${join(folder, 'queue.db')}`;
  return { brokerUrl: url, resultUrl: url, close: async () => rmSync(folder, { recursive: true, force: true }) };
});
