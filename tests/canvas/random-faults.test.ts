/** Random workflows under faults on the brokers that need no server; the cases are in random-faults.ts. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomFaultsSuite, randomStopsSuite } from './random-faults.js';

randomStopsSuite('memory', 'memory:random-faults');
randomFaultsSuite('file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-faults-'));
  const url = `file:${join(folder, 'queue.db')}`;
  return { brokerUrl: url, resultUrl: url, close: async () => rmSync(folder, { recursive: true, force: true }) };
});
