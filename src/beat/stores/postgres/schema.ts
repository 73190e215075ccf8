/**
 * The tables of schedules in PostgreSQL, and what happens in them: a function for each step that must not be divided. Every one locks the
 * row of its app first, so that changes, decisions and the lead of an app are one after the other. No clock is read.
 *
 * Functions belong to the version of the schema that made them: what was released is never changed, a later version makes others.
 */
import type { PostgresTables } from '../../../clients/postgres-schema.js';

function tables(schema: string): readonly string[] {
  const q = `"${schema}"`;
  return [
    // owner: null for nobody. version: of the last change; horizon: of the newest removal that was forgotten. The last three are counts.
    `CREATE TABLE ${q}.beat_apps(app text COLLATE "C" PRIMARY KEY, owner text, epoch bigint NOT NULL DEFAULT 0,
      version bigint NOT NULL DEFAULT 0, horizon bigint NOT NULL DEFAULT 0, entries integer NOT NULL DEFAULT 0,
      requests integer NOT NULL DEFAULT 0, removed integer NOT NULL DEFAULT 0) WITH (fillfactor = 50)`,
    // revision: the version that its last edit made. A decision writes seq and state, which no index has.
    `CREATE TABLE ${q}.beat_entries(app text COLLATE "C", id text COLLATE "C", revision bigint NOT NULL, paused boolean NOT NULL,
      definition text NOT NULL, seq bigint NOT NULL, state text, PRIMARY KEY(app, id)) WITH (fillfactor = 70)`,
    `CREATE INDEX beat_entries_revision ON ${q}.beat_entries(app, revision)`,
    // Ids that were removed, the newest of them.
    `CREATE TABLE ${q}.beat_removed(app text COLLATE "C", id text COLLATE "C", version bigint NOT NULL, PRIMARY KEY(app, id))`,
    `CREATE INDEX beat_removed_version ON ${q}.beat_removed(app, version)`,
    // Wishes to run an entry now.
    `CREATE TABLE ${q}.beat_requests(app text COLLATE "C", id text COLLATE "C", entry text COLLATE "C" NOT NULL, PRIMARY KEY(app, id))`,
    `CREATE INDEX beat_requests_entry ON ${q}.beat_requests(app, entry)`,
  ];
}

function functions(schema: string): readonly string[] {
  const q = `"${schema}"`;
  return [
    // Makes the row of an app if need be, and locks it.
    `CREATE FUNCTION ${q}.beat_hold(wanted text) RETURNS ${q}.beat_apps LANGUAGE plpgsql AS $$
    DECLARE a ${q}.beat_apps;
    BEGIN
      INSERT INTO ${q}.beat_apps(app) VALUES (wanted) ON CONFLICT DO NOTHING;
      SELECT * INTO a FROM ${q}.beat_apps t WHERE t.app = wanted FOR UPDATE;
      RETURN a;
    END $$`,

    // A letter for each change: d done, c conflict, m missing, f full.
    `CREATE FUNCTION ${q}.beat_change(wanted text, channel text, kinds text[], ids text[], expects float8[], texts text[], rests boolean[],
        most_entries integer, most_requests integer, most_removed integer) RETURNS text LANGUAGE plpgsql AS $$
    #variable_conflict use_column
    DECLARE a ${q}.beat_apps; w record; e record; there boolean; gone integer; answer text; answers text := '';
    BEGIN
      a := ${q}.beat_hold(wanted);
      FOR w IN SELECT * FROM unnest(kinds, ids, expects, texts, rests) WITH ORDINALITY AS u(kind, id, expect, body, rest, n) ORDER BY u.n LOOP
        SELECT t.revision, t.paused, t.definition INTO e FROM ${q}.beat_entries t WHERE t.app = wanted AND t.id = w.id;
        there := FOUND;
        answer := 'd';
        IF w.kind <> 'put' AND NOT there THEN
          answer := 'm';
        ELSIF w.expect <> coalesce(e.revision, 0) THEN
          -- a try whose answer was lost finds what it wrote
          IF w.kind <> 'put' OR NOT there OR e.definition <> w.body OR e.paused <> w.rest THEN answer := 'c'; END IF;
        ELSIF w.kind = 'run' THEN
          IF NOT EXISTS (SELECT 1 FROM ${q}.beat_requests r WHERE r.app = wanted AND r.id = w.body) THEN
            IF a.requests >= most_requests THEN
              answer := 'f';
            ELSE
              INSERT INTO ${q}.beat_requests VALUES (wanted, w.body, w.id);
              a.requests := a.requests + 1;
              a.version := a.version + 1;
            END IF;
          END IF;
        ELSIF w.kind = 'remove' THEN
          a.version := a.version + 1;
          a.entries := a.entries - 1;
          DELETE FROM ${q}.beat_entries t WHERE t.app = wanted AND t.id = w.id;
          DELETE FROM ${q}.beat_requests r WHERE r.app = wanted AND r.entry = w.id;
          GET DIAGNOSTICS gone = ROW_COUNT;
          a.requests := a.requests - gone;
          DELETE FROM ${q}.beat_removed x WHERE x.app = wanted AND x.id = w.id;
          IF NOT FOUND THEN a.removed := a.removed + 1; END IF;
          INSERT INTO ${q}.beat_removed VALUES (wanted, w.id, a.version);
          IF a.removed > most_removed THEN
            DELETE FROM ${q}.beat_removed x WHERE x.app = wanted AND x.version =
              (SELECT min(o.version) FROM ${q}.beat_removed o WHERE o.app = wanted) RETURNING x.version INTO a.horizon;
            a.removed := a.removed - 1;
          END IF;
        ELSIF NOT there AND a.entries >= most_entries THEN
          answer := 'f';
        ELSE
          a.version := a.version + 1;
          IF there THEN
            UPDATE ${q}.beat_entries t SET revision = a.version, paused = w.rest, definition = w.body WHERE t.app = wanted AND t.id = w.id;
          ELSE
            INSERT INTO ${q}.beat_entries VALUES (wanted, w.id, a.version, w.rest, w.body, 0, NULL);
            a.entries := a.entries + 1;
          END IF;
        END IF;
        answers := answers || answer;
      END LOOP;
      UPDATE ${q}.beat_apps t SET version = a.version, horizon = a.horizon, entries = a.entries, requests = a.requests,
        removed = a.removed WHERE t.app = wanted AND t.version <> a.version;
      IF FOUND THEN PERFORM pg_notify(channel, 'news'); END IF;
      RETURN answers;
    END $$`,

    // Decisions of the leader, a letter each: d done, s stale. Null: another epoch leads, or nobody.
    `CREATE FUNCTION ${q}.beat_fire(wanted text, term bigint, ids text[], revisions float8[], seqs float8[], states text[], wishes text[])
      RETURNS text LANGUAGE plpgsql AS $$
    #variable_conflict use_column
    DECLARE a ${q}.beat_apps; w record; answers text := ''; answered integer := 0;
    BEGIN
      a := ${q}.beat_hold(wanted);
      IF a.owner IS NULL OR a.epoch <> term THEN RETURN NULL; END IF;
      FOR w IN SELECT * FROM unnest(ids, revisions, seqs, states, wishes) WITH ORDINALITY
          AS u(id, revision, seq, state, wish, n) ORDER BY u.n LOOP
        UPDATE ${q}.beat_entries t SET seq = t.seq + 1, state = w.state
          WHERE t.app = wanted AND t.id = w.id AND t.revision = w.revision AND t.seq = w.seq
            AND (w.wish IS NULL OR EXISTS (SELECT 1 FROM ${q}.beat_requests r WHERE r.app = wanted AND r.id = w.wish));
        IF NOT FOUND THEN answers := answers || 's'; CONTINUE; END IF;
        answers := answers || 'd';
        IF w.wish IS NULL THEN CONTINUE; END IF;
        DELETE FROM ${q}.beat_requests r WHERE r.app = wanted AND r.id = w.wish;
        answered := answered + 1;
      END LOOP;
      IF answered > 0 THEN UPDATE ${q}.beat_apps t SET requests = t.requests - answered WHERE t.app = wanted; END IF;
      RETURN answers;
    END $$`,

    // Takes the lead in the next epoch, if it still stands at this one; gives it back, if it is this one. Both tell who leads now.
    `CREATE FUNCTION ${q}.beat_take_lead(wanted text, channel text, taker text, seen bigint, OUT leader text, OUT term float8)
      LANGUAGE plpgsql AS $$
    DECLARE a ${q}.beat_apps;
    BEGIN
      a := ${q}.beat_hold(wanted);
      IF a.epoch = seen THEN
        UPDATE ${q}.beat_apps t SET owner = taker, epoch = seen + 1 WHERE t.app = wanted RETURNING * INTO a;
        PERFORM pg_notify(channel, 'lead ' || a.epoch || ' ' || taker);
      END IF;
      leader := a.owner;
      term := a.epoch;
    END $$`,

    `CREATE FUNCTION ${q}.beat_resign(wanted text, channel text, leaver text, left_at bigint) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
      UPDATE ${q}.beat_apps t SET owner = NULL WHERE t.app = wanted AND t.owner = leaver AND t.epoch = left_at;
      IF FOUND THEN PERFORM pg_notify(channel, 'lead ' || left_at || ' '); END IF;
    END $$`,
  ];
}

/** Schedules. `oldestReader` is raised only when a step takes something away. */
export const BEAT_TABLES: PostgresTables = {
  ...{ what: 'schedules', versionTable: 'lovage_beat_schema', oldestReader: 1 },
  migrations: [(schema) => [...tables(schema), ...functions(schema)]],
};
