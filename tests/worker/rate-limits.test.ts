/** Rate limits on the brokers that need no server; the cases are in rate-limit-cases.ts. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rateLimitSuite } from './rate-limit-cases.js';

rateLimitSuite('memory', async () => ({
  brokerUrl: 'memory:rate-limits',
  resultUrl: 'memory:rate-limits',
  close: async () => {},
}));

rateLimitSuite('file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-limits-'));
  const url = `file:${join(folder, 'queue.db')}`;
  return { brokerUrl: url, resultUrl: url, close: async () => rmSync(folder, { recursive: true, force: true }) };
});
