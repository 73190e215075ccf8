/** What SQLite itself does with these bytes in one process: insert, claim and delete in transactions, fsync at each commit. */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadDriver, type SqliteConnection } from '../../src/clients/sqlite/driver.js';

const SCHEMA = `
PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;
CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, held INTEGER NOT NULL DEFAULT 0, payload TEXT NOT NULL);
CREATE TABLE results (id TEXT PRIMARY KEY, meta TEXT NOT NULL) WITHOUT ROWID;
`;

function payload(): string {
  const id = randomUUID();
  return JSON.stringify({
    headers: {
      lang: 'js',
      task: 'bench.noop',
      id,
      retries: 0,
      root_id: id,
      argsrepr: '(1, 2)',
      kwargsrepr: '{}',
      origin: 'gen1@bench',
    },
    body: '[[1,2],{},{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]',
  });
}

async function withDatabase<T>(run: (database: SqliteConnection) => T): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-limit-'));
  const database = (await loadDriver()).open(join(folder, 'limit.db'));
  try {
    database.exec(SCHEMA);
    return run(database);
  } finally {
    database.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

export function enqueueLimit(_url: string, count: number, inFlight: number, _bulk: boolean): Promise<number> {
  return withDatabase((database) => {
    const insert = database.prepare('INSERT INTO messages (queue, payload) VALUES (?, ?)');
    const startedMs = performance.now();
    for (let sent = 0; sent < count; sent += inFlight) {
      database.exec('BEGIN IMMEDIATE');
      for (let index = 0; index < inFlight; index++) insert.run(['limit', payload()]);
      database.exec('COMMIT');
    }
    return count / ((performance.now() - startedMs) / 1_000);
  });
}

export function drainLimit(_url: string, count: number, batch: number, withResults: boolean): Promise<number> {
  return withDatabase((database) => {
    const insert = database.prepare('INSERT INTO messages (queue, payload) VALUES (?, ?)');
    database.exec('BEGIN IMMEDIATE');
    for (let sent = 0; sent < count; sent++) insert.run(['limit', payload()]);
    database.exec('COMMIT');
    const claim = database.prepare(
      'UPDATE messages SET held = 1 WHERE id IN (SELECT id FROM messages WHERE queue = ? AND held = 0 ORDER BY id LIMIT ?) RETURNING id, payload',
    );
    const remove = database.prepare('DELETE FROM messages WHERE id = ?');
    const store = database.prepare('INSERT OR REPLACE INTO results (id, meta) VALUES (?, ?)');
    const startedMs = performance.now();
    for (;;) {
      const rows = claim.all(['limit', batch]) as { id: number; payload: string }[];
      if (rows.length === 0) break;
      database.exec('BEGIN IMMEDIATE');
      for (const row of rows) {
        const { headers } = JSON.parse(row.payload) as { headers: { id: string } };
        if (withResults)
          store.run([
            headers.id,
            `{"status": "SUCCESS", "result": null, "traceback": null, "children": [], "task_id": "${headers.id}"}`,
          ]);
        remove.run([row.id]);
      }
      database.exec('COMMIT');
    }
    return count / ((performance.now() - startedMs) / 1_000);
  });
}

/** One commit: what a message must at least cost before a worker can see it. */
export function latencyLimit(_url: string, samples: number): Promise<{ readonly p50: number; readonly p99: number }> {
  return withDatabase((database) => {
    const insert = database.prepare('INSERT INTO messages (queue, payload) VALUES (?, ?)');
    const taken: number[] = [];
    for (let index = 0; index < samples; index++) {
      const startedMs = performance.now();
      insert.run(['limit', payload()]);
      taken.push(performance.now() - startedMs);
    }
    taken.sort((a, b) => a - b);
    return { p50: taken[Math.floor(samples * 0.5)] as number, p99: taken[Math.floor(samples * 0.99)] as number };
  });
}
