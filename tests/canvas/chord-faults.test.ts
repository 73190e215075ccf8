/** Chords that meet a fault, on a file; the cases are in chord-faults.ts. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadDriver } from '../../src/clients/sqlite/driver.js';
import { chordFaultsSuite } from './chord-faults.js';

chordFaultsSuite('file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-chord-faults-'));
  const path = join(folder, 'queue.db');
  return {
    brokerUrl: `file:${path}`,
    resultUrl: `file:${path}`,
    block: async () => {
      const blocker = (await loadDriver()).open(path);
      blocker.exec('PRAGMA busy_timeout = 10000');
      blocker.exec('BEGIN IMMEDIATE');
      return () => {
        blocker.exec('ROLLBACK');
        blocker.close();
      };
    },
    deaths: 3,
    blockMs: { quick: 2_500, full: 35_000 },
    restart: null,
    close: async () => rmSync(folder, { recursive: true, force: true }),
  };
});
