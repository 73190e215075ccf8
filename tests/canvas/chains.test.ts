/** Chains on the brokers that need no server; the cases are in chain-cases.ts. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chainSuite } from './chain-cases.js';

chainSuite('memory', async () => ({ brokerUrl: 'memory:chains', resultUrl: 'memory:chains', close: async () => {} }));

chainSuite('file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-chains-'));
  const url = `file:${join(folder, 'queue.db')}`;
  return { brokerUrl: url, resultUrl: url, close: async () => rmSync(folder, { recursive: true, force: true }) };
});
