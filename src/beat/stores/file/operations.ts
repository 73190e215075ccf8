/**
 * Schedules in the embedded file, inside a transaction: entries, changes and the lead of an app, and decisions together with the messages
 * that they send. Loaded by a writer thread through its address. Tables: `clients/sqlite/schema.ts`.
 */

import type { NewRow } from '../../../brokers/file/call-types.js';
import { MessageTable } from '../../../brokers/file/message-table.js';
import type { SqliteConnection, SqliteRow } from '../../../clients/sqlite/driver.js';
import type { OperationModule, PrepareOperations } from '../../../clients/sqlite/operations.js';
import {
  type ChangeAnswer,
  type EntryChange,
  type EntryNews,
  type EntryRecord,
  type EntrySnapshot,
  type FireAnswer,
  type Firing,
  type Lead,
  MOST_CHANGES,
  MOST_ENTRIES,
  MOST_REQUESTS,
  type RunRequest,
} from '../../beat-store.js';

/** A firing with its messages as rows. */
export type FileFiring = Omit<Firing, 'messages'> & { readonly rows: readonly NewRow[] };

interface Counts {
  entries: number;
  changes: number;
  requests: number;
}

interface Of<T> {
  readonly app: string;
  readonly value: T;
}

const recordOf = (row: SqliteRow): EntryRecord => ({
  id: String(row['id']),
  revision: Number(row['revision']),
  paused: row['paused'] === 1,
  definition: String(row['definition']),
  seq: Number(row['seq']),
  state: row['state'] === null || row['state'] === undefined ? null : String(row['state']),
});

function entryOperations(connection: SqliteConnection) {
  const addApp = connection.prepare('INSERT OR IGNORE INTO beat_apps VALUES(?, 0, 0, NULL, 0)');
  const readApp = connection.prepare('SELECT version, horizon, owner, epoch FROM beat_apps WHERE app = ?');
  const nextVersion = connection.prepare('UPDATE beat_apps SET version = version + 1 WHERE app = ? RETURNING version');
  const setHorizon = connection.prepare('UPDATE beat_apps SET horizon = ? WHERE app = ?');
  const all = connection.prepare('SELECT * FROM beat_entries WHERE app = ?');
  const one = connection.prepare('SELECT * FROM beat_entries WHERE app = ? AND id = ?');
  const count = connection.prepare('SELECT count(*) AS n FROM beat_entries WHERE app = ?');
  const put = connection.prepare(
    `INSERT INTO beat_entries VALUES(?, ?, ?, ?, 0, ?, NULL)
     ON CONFLICT(app, id) DO UPDATE SET revision = excluded.revision, paused = excluded.paused, definition = excluded.definition`,
  );
  const remove = connection.prepare('DELETE FROM beat_entries WHERE app = ? AND id = ?');
  const findChange = connection.prepare('SELECT 1 AS found FROM beat_changes WHERE app = ? AND id = ?');
  const noteChange = connection.prepare('INSERT OR REPLACE INTO beat_changes VALUES(?, ?, ?)');
  const countChanges = connection.prepare('SELECT count(*) AS n FROM beat_changes WHERE app = ?');
  const oldestChange = connection.prepare('SELECT id, version FROM beat_changes WHERE app = ? ORDER BY version LIMIT 1');
  const dropChange = connection.prepare('DELETE FROM beat_changes WHERE app = ? AND id = ?');
  const changed = connection.prepare('SELECT id FROM beat_changes WHERE app = ? AND version > ? ORDER BY version');
  const requests = connection.prepare('SELECT id, entry FROM beat_requests WHERE app = ?');
  const countRequests = connection.prepare('SELECT count(*) AS n FROM beat_requests WHERE app = ?');
  const addRequest = connection.prepare('INSERT OR IGNORE INTO beat_requests VALUES(?, ?, ?)');

  const dropRequests = connection.prepare('DELETE FROM beat_requests WHERE app = ? AND entry = ?');

  const requestsOf = (app: string): RunRequest[] =>
    requests.all([app]).map(({ id, entry }) => ({ id: String(id), entry: String(entry) }));
  const find = (app: string, id: string): EntryRecord | null => {
    const row = one.get([app, id]);
    return row === undefined ? null : recordOf(row);
  };
  const versionOf = (app: string): number => Number(readApp.get([app])?.['version'] ?? 0);

  /** Rows at the beginning of a call, counted once: counting costs as much as there are rows. */
  const countsOf = (app: string): Counts => ({
    entries: Number(count.get([app])?.['n']),
    changes: Number(countChanges.get([app])?.['n']),
    requests: Number(countRequests.get([app])?.['n']),
  });

  const note = (app: string, id: string, counts: Counts): number => {
    const version = Number(nextVersion.all([app])[0]?.['version']);
    if (findChange.get([app, id]) === undefined) counts.changes += 1;
    noteChange.run([app, id, version]);
    if (counts.changes > MOST_CHANGES) {
      counts.changes -= 1;
      const oldest = oldestChange.get([app]);
      setHorizon.run([Number(oldest?.['version']), app]);
      dropChange.run([app, String(oldest?.['id'])]);
    }
    return version;
  };

  const apply = (app: string, change: EntryChange, counts: Counts): ChangeAnswer => {
    const entry = find(app, change.id);
    if (change.kind === 'run') {
      if (entry === null) return 'missing';
      if (counts.requests >= MOST_REQUESTS) return 'full';
      counts.requests += addRequest.run([app, change.request, change.id]);
      nextVersion.all([app]);
      return 'done';
    }
    if (change.kind === 'remove' && entry === null) return 'missing';
    if (change.expect !== undefined && change.expect !== (entry?.revision ?? 0)) return 'conflict';
    if (change.kind === 'remove') {
      note(app, change.id, counts);
      counts.entries -= remove.run([app, change.id]);
      counts.requests -= dropRequests.run([app, change.id]);
      return 'done';
    }
    if (entry === null && counts.entries >= MOST_ENTRIES) return 'full';
    if (entry === null) counts.entries += 1;
    put.run([app, change.id, note(app, change.id, counts), change.paused ? 1 : 0, change.definition]);
    return 'done';
  };

  return {
    addApp,
    readApp,
    find,
    calls: {
      load: ({ app }: Of<null>): EntrySnapshot => ({
        version: versionOf(app),
        entries: all.all([app]).map(recordOf),
        requests: requestsOf(app),
      }),
      get: ({ app, value }: Of<string>): EntryRecord | null => find(app, value),
      changesSince: ({ app, value: since }: Of<number>): EntryNews | null => {
        const row = readApp.get([app]);
        const version = Number(row?.['version'] ?? 0);
        if (since < Number(row?.['horizon'] ?? 0) || since > version) return null;
        const ids = changed.all([app, since]).map(({ id }) => String(id));
        const entries = ids.flatMap((id) => find(app, id) ?? []);
        const there = new Set(entries.map(({ id }) => id));
        return { version, entries, removed: ids.filter((id) => !there.has(id)), requests: requestsOf(app) };
      },
      change: ({ app, value }: Of<readonly EntryChange[]>): ChangeAnswer[] => {
        addApp.run([app]);
        const counts = countsOf(app);
        return value.map((change) => apply(app, change, counts));
      },
    },
  };
}

export const prepareOperations: PrepareOperations = (connection, context) => {
  const table = new MessageTable(connection, context);
  const { addApp, readApp, find, calls } = entryOperations(connection);
  const decide = connection.prepare('UPDATE beat_entries SET seq = seq + 1, state = ? WHERE app = ? AND id = ?');
  const dropRequest = connection.prepare('DELETE FROM beat_requests WHERE app = ? AND id = ?');
  const take = connection.prepare('UPDATE beat_apps SET owner = ?, epoch = epoch + 1 WHERE app = ? AND epoch = ?');
  const resign = connection.prepare('UPDATE beat_apps SET owner = NULL WHERE app = ? AND epoch = ? AND owner = ?');
  const leadOf = (app: string): Lead => {
    const row = readApp.get([app]);
    return { owner: typeof row?.['owner'] === 'string' ? row['owner'] : null, epoch: Number(row?.['epoch'] ?? 0) };
  };

  return {
    calls: {
      ...calls,
      lead: ({ app }: Of<null>): Lead => leadOf(app),
      takeLead: ({ app, value }: Of<Lead>): Lead => {
        addApp.run([app]);
        take.run([value.owner, app, value.epoch]);
        return leadOf(app);
      },
      resign: ({ app, value }: Of<Lead>): boolean => resign.run([app, value.epoch, value.owner]) > 0,
      fire: ({ app, value }: Of<{ readonly epoch: number; readonly firings: readonly FileFiring[] }>): FireAnswer[] | null => {
        const { owner, epoch } = leadOf(app);
        if (owner === null || epoch !== value.epoch) return null;
        return value.firings.map(({ id, revision, seq, state, rows, request }) => {
          const entry = find(app, id);
          if (entry === null || entry.revision !== revision || entry.seq !== seq) return 'stale';
          if (request !== null && dropRequest.run([app, request]) === 0) return 'stale';
          decide.run([state, app, id]);
          for (const row of rows) table.add(row);
          return 'done';
        });
      },
    },
    beforeCommit: () => table.flush(),
    afterRollback: () => table.forget(),
  };
};

export const beatOperations: OperationModule = { name: 'beat', prepareOperations, href: import.meta.url };
