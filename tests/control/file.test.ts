/** Remote control over a file; the cases are in worker-cases.ts. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { controlSuite } from './worker-cases.js';

controlSuite('file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-control-'));
  const url = `file:${join(folder, 'queue.db')}`;
  return { brokerUrl: url, resultUrl: url, close: async () => rmSync(folder, { recursive: true, force: true }) };
});
