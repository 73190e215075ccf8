/** Fifty nodes on the embedded file; the cases are in crowd-cases.ts. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crowdSuite } from './crowd-cases.js';

crowdSuite('the file broker', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-crowd-'));
  const url = `file:${join(folder, 'queue.db')}`;
  return {
    url,
    // a limit that nobody reaches, so that each has a handle of its own, as another process would
    nodeUrl: (index) => `${url}?maxSize=${2_000 + index}MiB`,
    close: async () => rmSync(folder, { recursive: true, force: true }),
  };
});
