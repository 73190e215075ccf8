/** Dedupe on the brokers that need no server; the cases are in dedupe-cases.ts. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dedupeSuite } from './dedupe-cases.js';

dedupeSuite('memory', 0, async () => ({ brokerUrl: 'memory:dedupe', resultUrl: 'memory:dedupe', close: async () => {} }));

dedupeSuite('file', 4, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-dedupe-'));
  const url = `file:${join(folder, 'queue.db')}`;
  return { brokerUrl: url, resultUrl: url, close: async () => rmSync(folder, { recursive: true, force: true }) };
});
