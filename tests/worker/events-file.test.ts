/** Events of a worker in memory and in a file; the cases are in events-cases.ts. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventsSuite } from './events-cases.js';

let numbers = 0;
const next = (): string => `events-${(numbers += 1)}`;

eventsSuite('memory', async () => ({ url: () => `memory:${next()}`, close: async () => {} }));

eventsSuite('file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-events-'));
  return {
    url: () => `file:${join(folder, `${next()}.db`)}`,
    close: async () => rmSync(folder, { recursive: true, force: true }),
  };
});
