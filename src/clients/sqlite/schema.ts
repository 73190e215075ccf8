/**
 * The tables of the embedded file and their versions. The invariant that all code relies on: the id of a message is in
 * exactly one place, `line` (ready), `later` (waiting for a time) or the list of one row of `claims` (held), and an id
 * that leaves a claim never comes back, except by recovery of that claim. So recovery is: every id of the claim that
 * still has a message goes back to `line`.
 */
import { BrokerError } from '../../core/errors.js';
import type { SqliteConnection } from './driver.js';

/** "Lvge": lets `file(1)` and us tell our files from others. */
export const APPLICATION_ID = 0x4c766765;

/** A step for each version, in order: a file gets those that it has not had. What was released is never changed. */
const MIGRATIONS: readonly (readonly string[])[] = [
  [
    // Numbers that are never used twice: ids of messages (SQLite reuses those of deleted rows), seq of results, ...
    'CREATE TABLE counters(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID',
    "INSERT INTO counters VALUES('message', 1), ('front', -1), ('holder', 1), ('claim', 1), ('result', 1), ('broadcast', 1), ('dead', 1)",
    'CREATE TABLE queues(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)',
    // Written once and deleted once: pops and settles touch the small tables, not the payload.
    `CREATE TABLE messages(id INTEGER PRIMARY KEY, queue INTEGER NOT NULL, rank INTEGER NOT NULL, seen INTEGER NOT NULL,
      losses INTEGER NOT NULL, head TEXT, body BLOB)`,
    // rank = 9 - priority, so that the order of the key is the order of serving
    'CREATE TABLE line(queue INTEGER, rank INTEGER, id INTEGER, PRIMARY KEY(queue, rank, id)) WITHOUT ROWID',
    'CREATE TABLE later(queue INTEGER, due INTEGER, id INTEGER, rank INTEGER NOT NULL, PRIMARY KEY(queue, due, id)) WITHOUT ROWID',
    'CREATE TABLE holders(id INTEGER PRIMARY KEY, name TEXT NOT NULL, lease_until INTEGER NOT NULL, lease_ms INTEGER NOT NULL)',
    'CREATE TABLE claims(holder INTEGER, id INTEGER, queue INTEGER NOT NULL, ids TEXT NOT NULL, PRIMARY KEY(holder, id)) WITHOUT ROWID',
    `CREATE TABLE dead(id INTEGER PRIMARY KEY, queue TEXT NOT NULL, parked_at INTEGER NOT NULL, code TEXT NOT NULL, reason TEXT NOT NULL,
      head TEXT, body BLOB)`,
    'CREATE TABLE broadcasts(id INTEGER PRIMARY KEY, at INTEGER NOT NULL, exchange TEXT NOT NULL, routing_key TEXT NOT NULL, head TEXT, body BLOB)',
    // epoch: the highest one claimed; meta_epoch: that of the write that made `meta`; hash: of the id
    `CREATE TABLE results(seq INTEGER PRIMARY KEY, hash INTEGER NOT NULL, id TEXT NOT NULL, state TEXT, meta_epoch INTEGER NOT NULL,
      meta_until INTEGER, epoch INTEGER NOT NULL, epoch_until INTEGER, expires INTEGER, meta TEXT)`,
    // Ids are random, so each dirties a page of its index, which is what a result costs. New keys go to a table of a few
    // pages, and from there to the large one in batches that share its pages.
    'CREATE TABLE result_keys(hash INTEGER, seq INTEGER, PRIMARY KEY(hash, seq)) WITHOUT ROWID',
    'CREATE TABLE new_result_keys(hash INTEGER, seq INTEGER, PRIMARY KEY(hash, seq)) WITHOUT ROWID',
    'CREATE INDEX results_expires ON results(expires) WHERE expires IS NOT NULL',
  ],
  [
    // facts: what is known of a dead letter, as JSON, in front of the large columns so that a list of them reads no body
    `CREATE TABLE dead_letters(id INTEGER PRIMARY KEY, parked_at INTEGER NOT NULL, bytes INTEGER NOT NULL, facts TEXT NOT NULL,
      head TEXT, body BLOB)`,
    `INSERT INTO dead_letters SELECT id, parked_at, coalesce(length(CAST(head AS BLOB)), 0) + coalesce(length(CAST(body AS BLOB)), 0),
      json_object('queue', queue, 'code', code, 'reason', reason,
        'task', CASE WHEN json_valid(head) THEN json_extract(head, '$[3].task') END,
        'taskId', CASE WHEN json_valid(head) THEN json_extract(head, '$[3].id') END,
        'history', json('{"leasesLost":0,"executorsLost":0,"retries":0,"redelivered":false,"unknownSinceMs":null,"parkedBy":null}')),
      head, body FROM dead`,
    'DROP TABLE dead',
    'ALTER TABLE dead_letters RENAME TO dead',
  ],
  [
    // Who listens to broadcasts, and until when unless it says so again: how many a broadcast reaches.
    `CREATE TABLE listeners(id INTEGER PRIMARY KEY, exchange TEXT NOT NULL, pattern TEXT NOT NULL, inbox INTEGER NOT NULL,
      until INTEGER NOT NULL)`,
    // Replies that their inbox (a listener) has not read yet.
    'CREATE TABLE replies(id INTEGER PRIMARY KEY, listener INTEGER NOT NULL, bytes INTEGER NOT NULL, head TEXT, body BLOB)',
    'CREATE INDEX replies_listener ON replies(listener)',
    "INSERT INTO counters VALUES('listener', 1), ('reply', 1)",
  ],
  [
    // Queues and tasks that people have paused, and since when.
    'CREATE TABLE pauses(kind TEXT NOT NULL, name TEXT NOT NULL, since INTEGER NOT NULL, PRIMARY KEY(kind, name)) WITHOUT ROWID',
  ],
  [
    // Names that hold until a time (`timed-set.ts`): ids of revoked tasks. seq: of the last addition
    'CREATE TABLE marks(name TEXT PRIMARY KEY, until INTEGER NOT NULL, seq INTEGER NOT NULL) WITHOUT ROWID',
    'CREATE INDEX marks_until ON marks(until)',
    'CREATE INDEX marks_seq ON marks(seq)',
    "INSERT INTO counters VALUES('mark', 1)",
    // The messages in `later` by their tasks' ids: how a task that is revoked is found. Of no others, because an index of
    // random ids over all messages would cost more than the messages.
    'CREATE TABLE later_tasks(task TEXT, id INTEGER, due INTEGER NOT NULL, PRIMARY KEY(task, id)) WITHOUT ROWID',
    `INSERT INTO later_tasks SELECT json_extract(m.head, '$[3].id'), m.id, l.due FROM later l JOIN messages m ON m.id = l.id
      WHERE json_valid(m.head) AND json_type(m.head, '$[3].id') = 'text'`,
  ],
  [
    // Dedupe keys of sends, who has them and until when (`send-keys.ts`).
    'CREATE TABLE send_keys(key TEXT PRIMARY KEY, value TEXT NOT NULL, until INTEGER NOT NULL) WITHOUT ROWID',
    'CREATE INDEX send_keys_until ON send_keys(until)',
  ],
  [
    // Chords that are counted (`results/chords.ts`). size: null until it is opened, -1 once it is closed; done: parts that have reported;
    // failed: the part by which it failed
    `CREATE TABLE chords(group_id TEXT PRIMARY KEY, size INTEGER, done INTEGER NOT NULL, until INTEGER NOT NULL, deadline INTEGER,
      body TEXT, failed TEXT) WITHOUT ROWID`,
    'CREATE INDEX chords_deadline ON chords(deadline) WHERE deadline IS NOT NULL',
    'CREATE INDEX chords_until ON chords(until)',
    `CREATE TABLE chord_parts(group_id TEXT, task_id TEXT, place INTEGER, state TEXT NOT NULL, result TEXT NOT NULL,
      PRIMARY KEY(group_id, task_id)) WITHOUT ROWID`,
  ],
  [
    // Finished steps of tasks (`results/steps.ts`). count: how many a task has
    'CREATE TABLE step_tasks(task TEXT PRIMARY KEY, count INTEGER NOT NULL, until INTEGER NOT NULL) WITHOUT ROWID',
    'CREATE INDEX step_tasks_until ON step_tasks(until)',
    'CREATE TABLE steps(task TEXT, name TEXT, result TEXT NOT NULL, PRIMARY KEY(task, name))',
  ],
  [
    // Parts that were added to a chord: each counts once in its size.
    'CREATE TABLE chord_added(group_id TEXT, task_id TEXT, PRIMARY KEY(group_id, task_id)) WITHOUT ROWID',
  ],
  [
    // Schedules (`beat/stores/file`), by app. seq: number of the state; version, horizon: of changes
    `CREATE TABLE beat_apps(app TEXT PRIMARY KEY, version INTEGER NOT NULL, horizon INTEGER NOT NULL, owner TEXT,
      epoch INTEGER NOT NULL) WITHOUT ROWID`,
    `CREATE TABLE beat_entries(app TEXT, id TEXT, revision INTEGER NOT NULL, paused INTEGER NOT NULL, seq INTEGER NOT NULL,
      definition TEXT NOT NULL, state TEXT, PRIMARY KEY(app, id))`,
    'CREATE TABLE beat_changes(app TEXT, id TEXT, version INTEGER NOT NULL, PRIMARY KEY(app, id)) WITHOUT ROWID',
    'CREATE INDEX beat_changes_version ON beat_changes(app, version)',
    'CREATE TABLE beat_requests(app TEXT, id TEXT, entry TEXT NOT NULL, PRIMARY KEY(app, id)) WITHOUT ROWID',
  ],
];

/** A file of a higher version is refused. */
export const SCHEMA_VERSION = MIGRATIONS.length;

/**
 * Makes or upgrades the tables; call inside a write transaction.
 * @param to an older version, for tests of the upgrade from it
 * @throws BrokerError `E_BROKER_CORRUPT` for another program's file or a newer version
 */
export function migrate(connection: SqliteConnection, path: string, to = SCHEMA_VERSION): void {
  const version = pragmaNumber(connection, 'user_version');
  const application = pragmaNumber(connection, 'application_id');
  const tables = Number(connection.prepare('SELECT count(*) AS n FROM sqlite_master').get([])?.['n'] ?? 0);
  if (tables > 0 && application !== APPLICATION_ID) {
    throw new BrokerError('E_BROKER_CORRUPT', `${path} is an SQLite file of another program: give Lovage a file of its own`);
  }
  if (version > SCHEMA_VERSION) {
    throw new BrokerError(
      'E_BROKER_CORRUPT',
      `${path} was written by a newer Lovage (file version ${version}, this one knows ${SCHEMA_VERSION}): upgrade every process that uses it`,
    );
  }
  for (const statements of MIGRATIONS.slice(version, to)) for (const sql of statements) connection.exec(sql);
  connection.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
  connection.exec(`PRAGMA user_version = ${to}`);
}

/** Whether the file is ours and up to date, told without writing. */
export function isCurrent(connection: SqliteConnection): boolean {
  return (
    pragmaNumber(connection, 'user_version') === SCHEMA_VERSION && pragmaNumber(connection, 'application_id') === APPLICATION_ID
  );
}

function pragmaNumber(connection: SqliteConnection, name: 'user_version' | 'application_id'): number {
  return Number(connection.prepare(`PRAGMA ${name}`).get([])?.[name] ?? 0);
}
