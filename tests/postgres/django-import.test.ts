/**
 * `lovage schedule import postgresql://…`: entries out of the tables that django-celery-beat's migrations make. The tables here were
 * written down from those of version 2.9 and compared with what the migrations of 2.4 and 2.9 made.
 */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { Project } from '../cli/run-cli.js';
import { type PostgresServer, startPostgres } from '../support/postgres-server.js';

const TABLES = `
CREATE TABLE django_celery_beat_intervalschedule(id serial PRIMARY KEY, every integer NOT NULL, period varchar(24) NOT NULL);
CREATE TABLE django_celery_beat_crontabschedule(id serial PRIMARY KEY, minute varchar(240) NOT NULL, hour varchar(96) NOT NULL,
  day_of_week varchar(64) NOT NULL, day_of_month varchar(124) NOT NULL, month_of_year varchar(64) NOT NULL, timezone varchar(63) NOT NULL);
CREATE TABLE django_celery_beat_solarschedule(id serial PRIMARY KEY, event varchar(24) NOT NULL, latitude numeric(9, 6) NOT NULL,
  longitude numeric(9, 6) NOT NULL, UNIQUE (event, latitude, longitude));
CREATE TABLE django_celery_beat_clockedschedule(id serial PRIMARY KEY, clocked_time timestamptz NOT NULL);
CREATE TABLE django_celery_beat_periodictasks(ident smallint PRIMARY KEY, last_update timestamptz NOT NULL);
CREATE TABLE django_celery_beat_periodictask(id serial PRIMARY KEY, name varchar(200) NOT NULL UNIQUE, task varchar(200) NOT NULL,
  args text NOT NULL, kwargs text NOT NULL, queue varchar(200), exchange varchar(200), routing_key varchar(200), expires timestamptz,
  enabled boolean NOT NULL, last_run_at timestamptz, total_run_count integer NOT NULL CHECK (total_run_count >= 0),
  date_changed timestamptz NOT NULL, description text NOT NULL,
  crontab_id integer REFERENCES django_celery_beat_crontabschedule DEFERRABLE INITIALLY DEFERRED,
  interval_id integer REFERENCES django_celery_beat_intervalschedule DEFERRABLE INITIALLY DEFERRED,
  solar_id integer REFERENCES django_celery_beat_solarschedule DEFERRABLE INITIALLY DEFERRED,
  one_off boolean NOT NULL, start_time timestamptz, priority integer CHECK (priority >= 0), headers text NOT NULL,
  clocked_id integer REFERENCES django_celery_beat_clockedschedule DEFERRABLE INITIALLY DEFERRED,
  expire_seconds integer CHECK (expire_seconds >= 0));
`;
const ROWS = `
INSERT INTO django_celery_beat_intervalschedule(every, period) VALUES (10, 'minutes'), (5, 'microseconds');
INSERT INTO django_celery_beat_crontabschedule(minute, hour, day_of_week, day_of_month, month_of_year, timezone)
  VALUES ('30', '2', 'mon-fri', '*', '*', 'Europe/Berlin');
INSERT INTO django_celery_beat_solarschedule(event, latitude, longitude) VALUES ('sunset', 52.52, 13.4);
INSERT INTO django_celery_beat_clockedschedule(clocked_time) VALUES ('2099-01-31T08:00:00Z'), ('2020-01-31T08:00:00Z');
INSERT INTO django_celery_beat_periodictask(name, task, args, kwargs, queue, exchange, routing_key, expires, enabled, last_run_at,
    total_run_count, date_changed, description, crontab_id, interval_id, solar_id, one_off, start_time, priority, headers, clocked_id, expire_seconds)
  VALUES
  ('nightly', 'shop.report', '["all", 9007199254740993]', '{"deep": {"x": [1]}}', NULL, NULL, NULL, NULL, true,
    '2026-11-20T01:30:00.25Z', 41, now(), '', 1, NULL, NULL, false, NULL, 8, '{"tenant": "x"}', NULL, 3600),
  ('often', 'note', '[]', '{}', 'slow', NULL, NULL, '2099-01-01T00:00:00Z', false, NULL, 7, now(), 'every ten minutes', NULL, 1, NULL,
    false, '2098-01-01T00:00:00Z', NULL, '{}', NULL, NULL),
  ('video', 'note', '', '', 'slow', 'media', 'video', NULL, true, NULL, 0, now(), '', NULL, 1, NULL, false, NULL, NULL, '', NULL, NULL),
  ('evening', 'slow.one', '[]', '{}', NULL, NULL, NULL, NULL, true, NULL, 0, now(), '', NULL, NULL, 1, false, NULL, NULL, '{}', NULL, NULL),
  ('once', 'note', '[]', '{}', NULL, NULL, NULL, NULL, true, NULL, 0, now(), '', NULL, NULL, NULL, true, NULL, NULL, '{}', 1, NULL),
  ('done', 'note', '[]', '{}', NULL, NULL, NULL, NULL, false, NULL, 0, now(), '', NULL, NULL, NULL, true, NULL, NULL, '{}', 2, NULL),
  ('celery.backend_cleanup', 'celery.backend_cleanup', '[]', '{}', NULL, NULL, NULL, NULL, true, NULL, 0, now(), '', 1, NULL, NULL,
    false, NULL, NULL, '{}', NULL, 43200),
  ('too often', 'note', '[]', '{}', NULL, NULL, NULL, NULL, true, NULL, 0, now(), '', NULL, 2, NULL, false, NULL, NULL, '{}', NULL, NULL),
  ('no json', 'note', '[1', '{}', NULL, NULL, NULL, NULL, true, NULL, 0, now(), '', NULL, 1, NULL, false, NULL, NULL, '{}', NULL, NULL),
  (E'two\\nlines', 'note', '[]', '{}', NULL, NULL, NULL, NULL, true, NULL, 0, now(), '', NULL, 1, NULL, false, NULL, NULL, '{}', NULL, NULL),
  ('too large', 'note', '["' || repeat('x', 262144) || '"]', '{}', NULL, NULL, NULL, NULL, true, NULL, 0, now(), '', NULL, 1, NULL,
    false, NULL, NULL, '{}', NULL, NULL);
`;
const APP = `
import { createApp } from 'lovage';
export const app = createApp({ name: 'shop', routes: { 'slow.*': { queue: 'slow' } } });
app.fn('note', (text) => text);
`;

let server: PostgresServer;
let project: Project;
let databases = 0;
beforeAll(async () => {
  server = await startPostgres();
}, 60_000);
afterAll(async () => {
  await server?.stop();
});
beforeEach(() => {
  project = new Project();
  project.write('app.mjs', APP);
});
afterEach(() => project.remove());

/** A database of a Django app. */
async function database(...statements: readonly string[]): Promise<string> {
  databases += 1;
  const name = `django_${databases}`;
  await server.run(`CREATE DATABASE ${name}`);
  for (const sql of statements) await server.run(sql, name);
  return server.urlOf({ database: name });
}
const schedule = (...args: string[]) => project.run(['schedule', ...args, '--app', './app.mjs']);
const json = async (...args: string[]): Promise<unknown> => JSON.parse((await schedule(...args, '--json')).stdout);

test('rows of every kind come over with what they say, and the others are named with their row and reason', {
  timeout: 120_000,
}, async () => {
  const url = await database(TABLES, ROWS);
  const { code, stdout, stderr } = await schedule('import', url, '--json');
  expect(code).toBe(78);
  expect(stderr).toContain('4 of 11 entries were not taken over');
  expect(JSON.parse(stdout)).toEqual({
    entries: [
      { row: 1, id: 'nightly', task: 'shop.report', notes: [], paused: false, outcome: 'added' },
      {
        ...{ row: 2, id: 'often', task: 'note', paused: true, outcome: 'added' },
        notes: [
          'expires: no slot after 2099-01-01T00:00:00.000Z; a run that was sent before may start later',
          'description was left out: "every ten minutes"',
        ],
      },
      {
        ...{ row: 3, id: 'video', task: 'note', paused: false, outcome: 'added' },
        notes: ['queue "slow" was left out: the exchange decides where it goes'],
      },
      { row: 4, id: 'evening', task: 'slow.one', notes: [], paused: false, outcome: 'added' },
      { row: 5, id: 'once', task: 'note', notes: [], paused: false, outcome: 'added' },
    ],
    over: [
      { row: 6, id: 'done', reason: 'its time has passed, 2020-01-31T08:00:00.000Z' },
      { row: 7, id: 'celery.backend_cleanup', reason: expect.stringContaining('expire by themselves') },
    ],
    refused: [
      { row: 8, id: 'too often', code: 'E_SCHEDULE', message: expect.stringContaining('longer than nothing') },
      { row: 9, id: 'no json', code: 'E_SCHEDULE', message: expect.stringContaining('args is no JSON') },
      { row: 10, id: 'two\nlines', code: 'E_CONFIG_RANGE', message: expect.stringContaining('control character') },
      { row: 11, id: 'too large', code: 'E_CONFIG_RANGE', message: expect.stringContaining('pass ids') },
    ],
  });
  expect(await json('show', 'nightly')).toMatchObject({
    ...{ source: 'store', task: 'shop.report', paused: false, sent: 0, words: 'At 02:30 on Monday to Friday, Europe/Berlin' },
    options: {
      timezone: 'Europe/Berlin',
      priority: 8,
      expires: '3600s',
      headers: { tenant: 'x', periodic_task_name: 'nightly' },
    },
    signature: { kwargs: { deep: { x: [1] } }, options: { queue: 'lovage' } },
    earlier: { runs: 41, last: '2026-11-20T01:30:00.250Z' },
  });
  expect((await schedule('show', 'nightly')).stdout).toContain("41 sent by Celery's beat, the last 2026-11-20T01:30:00.250Z");
  expect((await schedule('show', 'nightly')).stdout).toContain('9007199254740993');
  expect(await json('show', 'often')).toMatchObject({
    ...{ paused: true, next: null, earlier: { runs: 7, last: null } },
    options: {
      every: '600s',
      anchor: 'last-run',
      start: '2098-01-01T00:00:00.000Z',
      end: '2099-01-01T00:00:00.000Z',
      queue: 'slow',
    },
  });
  expect(await json('show', 'video')).toMatchObject({ signature: { options: { exchange: 'media', routing_key: 'video' } } });
  expect(await json('show', 'evening')).toMatchObject({
    words: expect.stringContaining('sunset'),
    signature: { options: { queue: 'slow' } },
  });
  expect(await json('show', 'once')).toMatchObject({ next: '2099-01-31T08:00:00.000Z' });
});

test('a dry run adds nothing, a second import leaves alone what is there, and an edit keeps the runs of before', {
  timeout: 120_000,
}, async () => {
  const url = await database(TABLES, ROWS, 'DELETE FROM django_celery_beat_periodictask WHERE id > 7');
  const dry = await schedule('import', url, '--dry-run');
  expect(dry).toMatchObject({ code: 0, stderr: expect.stringContaining('row 6  done  left out: its time has passed') });
  expect(dry.stdout).toContain('row 2  often  would be added, paused');
  expect(await json('list')).toMatchObject({ count: 0 });
  expect(await schedule('import', url)).toMatchObject({ code: 0 });
  expect(await schedule('edit', 'nightly', '--queue', 'slow')).toMatchObject({ code: 0 });
  expect((await schedule('import', url, '--dry-run')).stdout).toContain('row 1  nightly  there already');
  expect((await schedule('import', url)).stdout).toContain('row 1  nightly  there already');
  expect(await json('show', 'nightly')).toMatchObject({ options: { queue: 'slow' }, earlier: { runs: 41 } });
});

test('the tables of the first versions, in a schema of their own and without offsets, are read too', {
  timeout: 120_000,
}, async () => {
  const url = await database(
    `CREATE SCHEMA legacy; SET search_path = legacy; ${TABLES.replaceAll('timestamptz', 'timestamp')}
      DROP TABLE django_celery_beat_clockedschedule, django_celery_beat_solarschedule CASCADE;
      ALTER TABLE django_celery_beat_crontabschedule DROP timezone;
      ALTER TABLE django_celery_beat_periodictask DROP solar_id, DROP clocked_id, DROP one_off, DROP start_time, DROP priority,
        DROP headers, DROP expire_seconds;
      INSERT INTO django_celery_beat_crontabschedule VALUES (4, '0', '5', '*', '*', '*');
      INSERT INTO django_celery_beat_periodictask VALUES (3, 'early', 'note', '[]', '{}', NULL, NULL, NULL, NULL, true,
        '2026-07-01 05:00:00', 3, '2026-07-01 05:00:00', '', 4, NULL)`,
  );
  const imported = await schedule('import', `${url}schema=legacy`, '--timezone', 'Europe/Berlin');
  expect(imported).toMatchObject({ code: 0, stdout: 'row 3  early  added\n' });
  expect(imported.stderr).toContain('last_run_at has no time zone there: it was read as the time of Europe/Berlin');
  expect(await json('show', 'early')).toMatchObject({
    ...{ words: 'At 05:00, Europe/Berlin', earlier: { runs: 3, last: '2026-07-01T03:00:00.000Z' } },
  });
});

test('a database without such tables, or a way to it that is wrong, is told as that', { timeout: 120_000 }, async () => {
  const url = await database();
  expect(await schedule('import', url)).toMatchObject({
    ...{ code: 78, stderr: expect.stringContaining('has no table django_celery_beat_periodictask in the search path') },
  });
  expect(await schedule('import', `${url}schema=old`)).toMatchObject({
    code: 78,
    stderr: expect.stringContaining('the schema "old"'),
  });
  const wrong = await schedule('import', server.urlOf({ database: 'nothing' }));
  expect(wrong).toMatchObject({ code: 77, stderr: expect.stringContaining('E_BROKER_AUTH') });
  expect(await schedule('import', 'postgresql://127.0.0.1:1/x')).toMatchObject({ code: 69 });
});
