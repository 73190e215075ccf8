/**
 * The tables of the PostgreSQL result store and their versions. Functions: `result-functions.ts` and its neighbours; who runs all this: `clients/postgres-schema.ts`.
 *
 * Texts that may be long or strange are never keys themselves (see `texts.ts`). All times but the deadlines of chords are
 * the server's, so that processes whose clocks differ agree.
 */
import type { PostgresTables } from '../../clients/postgres-schema.js';
import { chordFunctions } from './chord-functions.js';
import { keyFunctions } from './key-functions.js';
import { resultFunctions } from './result-functions.js';
import { upkeepFunctions } from './upkeep-functions.js';

const MIGRATIONS: PostgresTables['migrations'] = [
  (schema, q = `"${schema}"`) => [
    // epoch: the highest one claimed; meta_epoch: that of the write that made `meta`. Either part may be over before the other.
    `CREATE TABLE ${q}.results(id text COLLATE "C" PRIMARY KEY, state text, meta text, meta_epoch bigint NOT NULL,
      meta_until timestamptz NOT NULL, epoch bigint NOT NULL, epoch_until timestamptz NOT NULL,
      expires timestamptz GENERATED ALWAYS AS (greatest(meta_until, epoch_until)) STORED)`,
    `CREATE INDEX results_expires ON ${q}.results(expires) WHERE expires < 'infinity'`,
    // Chords that are counted (results/chords.ts). size: null until it is opened, -1 once it is closed; added: parts that came
    // later; done: parts that have reported; failed: the part by which it failed; deadline: wall time (ms). sweep_at: until then nobody looks whether it is
    // over. It stays behind \`until\`, which moves with every report: no index on that, so that counting needs no index entry.
    `CREATE TABLE ${q}.chords(group_id text COLLATE "C" PRIMARY KEY, name text, size integer, added integer NOT NULL, done integer NOT NULL,
      until timestamptz NOT NULL, sweep_at timestamptz NOT NULL, deadline float8, body text, failed text) WITH (fillfactor = 70)`,
    `CREATE INDEX chords_deadline ON ${q}.chords(deadline) WHERE deadline IS NOT NULL`,
    `CREATE INDEX chords_sweep_at ON ${q}.chords(sweep_at)`,
    `CREATE TABLE ${q}.chord_parts(group_id text COLLATE "C", task_id text COLLATE "C", name text, place integer,
      state text NOT NULL, result text NOT NULL, PRIMARY KEY(group_id, task_id))`,
    // Parts that came later: each counts once.
    `CREATE TABLE ${q}.chord_added(group_id text COLLATE "C", task_id text COLLATE "C", PRIMARY KEY(group_id, task_id))`,
    // Names that hold until a time: ids of revoked tasks. seq: of the last addition
    `CREATE TABLE ${q}.marks(key text COLLATE "C" PRIMARY KEY, name text NOT NULL, until timestamptz NOT NULL, seq bigint NOT NULL)`,
    `CREATE INDEX marks_until ON ${q}.marks(until)`,
    `CREATE INDEX marks_seq ON ${q}.marks(seq)`,
    `CREATE SEQUENCE ${q}.mark_seq`,
    // Dedupe keys of sends, who has them and until when.
    `CREATE TABLE ${q}.send_keys(key text COLLATE "C" PRIMARY KEY, value text NOT NULL, until timestamptz NOT NULL)`,
    `CREATE INDEX send_keys_until ON ${q}.send_keys(until)`,
    // Processes that wait for results: while there is none, nobody is notified.
    `CREATE TABLE ${q}.listeners(id text PRIMARY KEY, until timestamptz NOT NULL)`,
    // Finished steps of tasks (results/steps.ts); all of a task expire together. count: how many it has
    `CREATE TABLE ${q}.step_tasks(task text COLLATE "C" PRIMARY KEY, count integer NOT NULL, until timestamptz NOT NULL)`,
    `CREATE INDEX step_tasks_until ON ${q}.step_tasks(until)`,
    `CREATE TABLE ${q}.steps(task text COLLATE "C", name text COLLATE "C", result text NOT NULL, PRIMARY KEY(task, name))`,
    ...resultFunctions(schema),
    ...chordFunctions(schema),
    ...keyFunctions(schema),
    ...upkeepFunctions(schema),
  ],
];

/** Results and what goes with them. `oldestReader` is raised only when a step takes something away. */
export const RESULT_TABLES: PostgresTables = {
  ...{ what: 'results', versionTable: 'lovage_schema', migrations: MIGRATIONS, oldestReader: 1 },
};
