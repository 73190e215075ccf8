/** Revoking on the embedded file. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { revokeSuite } from './revoke-cases.js';

revokeSuite('the embedded file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-revoke-'));
  const url = `file:${join(folder, 'queue.db')}`;
  return {
    ...{ brokerUrl: url, resultUrl: url, withdraws: true, records: true },
    close: async () => rmSync(folder, { recursive: true, force: true }),
  };
});
