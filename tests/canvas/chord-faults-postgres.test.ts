/** Chords that meet a fault, on a file with results in PostgreSQL, which is what has the faults; the cases are in chord-faults.ts. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { startPostgres } from '../support/postgres-server.js';
import { chordFaultsSuite } from './chord-faults.js';

chordFaultsSuite('file with postgres results', async () => {
  const server = await startPostgres();
  const folder = mkdtempSync(join(tmpdir(), 'lovage-chord-faults-'));
  return {
    brokerUrl: `file:${join(folder, 'queue.db')}`,
    resultUrl: server.urlOf({ schema: 'chord_faults' }),
    block: async () => {
      const client = new pg.Client({ host: '127.0.0.1', port: server.port, user: 'lovage', database: 'postgres', ssl: false });
      await client.connect();
      await client.query('BEGIN; LOCK TABLE chord_faults.results, chord_faults.chords IN ACCESS EXCLUSIVE MODE');
      return () => client.end();
    },
    // a write is given up after 15 s
    deaths: 3,
    blockMs: { quick: 3_000, full: 20_000 },
    restart: () => server.restart('SIGQUIT'),
    close: async () => {
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
});
