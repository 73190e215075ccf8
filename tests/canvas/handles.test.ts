/** Handles of workflows on the stores that need no server; the cases are in handle-cases.ts. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { handleSuite } from './handle-cases.js';

handleSuite('memory', async () => ({ brokerUrl: 'memory:handles', resultUrl: 'memory:handles', close: async () => {} }));
handleSuite('file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-handles-'));
  const url = `file:${join(folder, 'queue.db')}`;
  return { brokerUrl: url, resultUrl: url, close: async () => rmSync(folder, { recursive: true, force: true }) };
});
