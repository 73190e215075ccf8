/** Broadcast queues in memory and in a file; the cases are in broadcast-cases.ts. */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { broadcastSuite } from './broadcast-cases.js';

broadcastSuite('memory', async () => {
  const url = `memory:broadcast-${randomUUID().slice(0, 8)}`;
  return { brokerUrl: url, resultUrl: url, close: async () => {} };
});

broadcastSuite('file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-broadcast-'));
  const url = `file:${join(folder, 'queue.db')}`;
  return { brokerUrl: url, resultUrl: url, close: async () => rmSync(folder, { recursive: true, force: true }) };
});
