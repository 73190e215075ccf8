/**
 * Random workflows under faults on a file, with results in PostgreSQL that is stopped at once and started again while they run; the cases
 * are in random-faults.ts.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPostgres } from '../support/postgres-server.js';
import { randomFaultsSuite } from './random-faults.js';

randomFaultsSuite('file with postgres results', async () => {
  const server = await startPostgres();
  const folder = mkdtempSync(join(tmpdir(), 'lovage-faults-'));
  return {
    brokerUrl: `file:${join(folder, 'queue.db')}`,
    resultUrl: server.urlOf({ schema: 'random_faults' }),
    disturb: () => server.restart('SIGQUIT'),
    close: async () => {
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
});
