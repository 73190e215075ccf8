/** What the PostgreSQL store holds: large, many and strange values, notifications within their limit, and nothing for ever. */
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { postgresResultsForTests } from '../../src/results/postgres/index.js';
import { channelOf } from '../../src/results/postgres/result-functions.js';
import { HASH_LENGTH, hashOf, keyOf } from '../../src/results/postgres/texts.js';
import { until } from '../../src/testing/conformance/broker-kit.js';
import { meta } from '../../src/testing/conformance/result-fixture.js';
import { type PostgresServer, startPostgres } from '../support/postgres-server.js';
import { listening, patient, stores, success } from './postgres-kit.js';

let server: PostgresServer;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(async () => {
  await server?.stop();
});
const open = stores();

test('ids, metas and results with NUL, escapes and ten thousand characters survive, apart from each other', async () => {
  const store = await open(server.urlOf({ schema: 'strange' }));
  const long = 'ü'.repeat(10_000);
  const ids = ['a\0b', 'a\x01b', 'a\x01\x03b', 'a\x01\x02b', '\0', `${long}1`, `${long}2`, 'a\\u0000b'];
  const metas = ids.map(
    (id) => `{"status": "SUCCESS", "result": "raw \0 and \x01, escaped \\u0000", "id": ${JSON.stringify(id)}}`,
  );
  await store.set(ids.map((id, at) => success(id, { meta: metas[at] as string })));
  expect(await store.get(ids)).toEqual(metas);
  expect(await Promise.all(ids.map((id) => store.wait(id, { signal: patient() })))).toEqual(metas);

  const steps = store.steps;
  const chords = store.chords;
  if (!steps || !chords) throw new Error('the store counts no chords or keeps no steps');
  const times = { deadlineMs: Date.now() - 1, ttlMs: 60_000 };
  await chords.open([{ groupId: long, size: 2, body: '"\0"', ...times }]);
  const end = { groupId: long, state: 'SUCCESS', ttlMs: 60_000 };
  await chords.report([{ ...end, taskId: `${long}-part`, index: 0, resultJson: '"\0"' }]);
  expect(await chords.report([{ ...end, taskId: '\0', index: 1, state: 'FAILURE', resultJson: '"\x01"' }])).toEqual([
    { kind: 'failed', part: { taskId: '\0', state: 'FAILURE', resultJson: '"\x01"' } },
  ]);
  expect((await chords.overdue(Date.now(), 10)).chords).toEqual([{ groupId: long, body: '"\0"' }]);
  await steps.put({ taskId: long, name: long, resultJson: '"\0"', epoch: 0, ttlMs: 60_000 });
  expect(await steps.get(long, long)).toBe('"\0"');
  expect(await store.swapSendKey?.({ key: long, expected: null, value: '\0', ttlMs: 60_000 })).toBeNull();
  expect(await store.swapSendKey?.({ key: long, expected: null, value: 'x', ttlMs: 60_000 })).toBe('\0');
});

test('ten results of a megabyte in one batch come back whole', async () => {
  const store = await open(server.urlOf({ schema: 'large' }));
  const ids = Array.from({ length: 10 }, (_, at) => `large-${at}`);
  const metas = ids.map((id, at) => meta(id, 'SUCCESS', String.fromCharCode(97 + at).repeat(2 ** 20)));
  expect(await store.set(ids.map((id, at) => success(id, { meta: metas[at] as string })))).toEqual(ids.map(() => 'stored'));
  expect(await store.get(ids)).toEqual(metas);
});

test('10,000 results are stored in bulk, and each of 10,000 waits gets its own', async () => {
  const [store, writer] = [await open(server.urlOf({ schema: 'bulk' })), await open(server.urlOf({ schema: 'bulk' }))];
  const ids = Array.from({ length: 10_000 }, (_, at) => `bulk-${at}`);
  const waits = Promise.all(ids.map((id) => store.wait(id, { signal: patient() })));
  expect(new Set(await writer.set(ids.map((id) => success(id))))).toEqual(new Set(['stored']));
  expect(await waits).toEqual(ids.map((id) => meta(id, 'SUCCESS')));
  expect(postgresResultsForTests(store).waits).toBe(0);
  expect(await writer.set(ids.map((id) => success(id, { meta: meta(id, 'SUCCESS', 'another') })))).toEqual(
    ids.map(() => 'final'),
  );
});

test('a batch whose ids are longer than a notification may be is told in several, and wakes those who wait', async () => {
  const url = server.urlOf({ schema: 'loud' });
  const [store, writer] = [await open(url), await open(url)];
  await listening(store, writer);
  const client = new pg.Client({ connectionString: server.url });
  await client.connect();
  const payloads: string[] = [];
  client.on('notification', ({ payload }) => payloads.push(payload ?? ''));
  await client.query(`LISTEN "${channelOf('loud')}"`);
  const ids = Array.from({ length: 500 }, (_, at) => `${'long'.repeat(500)}-${at}`);
  const waits = ids.map((id) => store.wait(id, { signal: patient() }));
  await writer.set(ids.map((id) => success(id)));
  expect(await Promise.all(waits)).toEqual(ids.map((id) => meta(id, 'SUCCESS')));
  const heard = (): Set<string> =>
    new Set(payloads.flatMap((payload) => payload.match(new RegExp(`.{${HASH_LENGTH}}`, 'g')) ?? []));
  await until(() => heard().size >= ids.length, 'all notifications');
  expect(heard()).toEqual(new Set(ids.map((id) => hashOf(keyOf(id)))));
  for (const payload of payloads) expect(Buffer.byteLength(payload)).toBeLessThan(8_000);
  expect(payloads.length).toBeGreaterThan(1);
  await client.end();
});

test('nobody is notified while nobody waits anywhere', async () => {
  const url = server.urlOf({ schema: 'quiet' });
  const [store, writer] = [await open(url), await open(url)];
  const client = new pg.Client({ connectionString: server.url });
  await client.connect();
  const payloads: string[] = [];
  client.on('notification', ({ payload }) => payloads.push(payload ?? ''));
  await client.query(`LISTEN "${channelOf('quiet')}"`);
  await writer.set([success('unheard')]);
  await client.query('SELECT 1');
  expect(payloads).toEqual([]);
  await listening(store, writer);
  await writer.set([success('heard')]);
  await until(() => payloads.length > 0, 'a notification, now that somebody waits');
  await store.close();
  const before = payloads.length;
  await writer.set([success('unheard too')]);
  await client.query('SELECT 1');
  expect(payloads.length).toBe(before);
  expect(await server.run('SELECT * FROM quiet.listeners')).toEqual([]);
  await client.end();
});

test('a first wait hears of a result whose writer saw nobody listening and commits after the wait began', async () => {
  const url = server.urlOf({ schema: 'race' });
  await (await open(url)).connect({ timeoutMs: 10_000 });
  const text = meta('slow', 'SUCCESS').replaceAll("'", "''");
  const write = `SELECT race.write_results(ARRAY['slow'], ARRAY['SUCCESS'], ARRAY['${text}'], ARRAY[0]::bigint[], ARRAY[600000]::float8[])`;
  const writing = server.run(`BEGIN; ${write}; SELECT pg_sleep(1.5); COMMIT`);
  const locks = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted";
  await until(async () => (await server.run(locks)).length > 0, 'the writer to have looked for listeners');
  // long before the re-check
  const waiting = (await open(url)).wait('slow', { signal: AbortSignal.timeout(10_000) });
  await writing;
  expect(await waiting).toBe(meta('slow', 'SUCCESS'));
});
