/** The schema of the PostgreSQL store: made by whoever comes first, and swept in bounded batches. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ROOT } from '../../scripts/environment.mjs';
import { postgresResultsForTests } from '../../src/results/postgres/index.js';
import { until, untilWall } from '../../src/testing/conformance/broker-kit.js';
import { meta } from '../../src/testing/conformance/result-fixture.js';
import { type PostgresServer, startPostgres } from '../support/postgres-server.js';
import { stores, success } from './postgres-kit.js';

let server: PostgresServer;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(async () => {
  await server?.stop();
});
const open = stores();

const count = async (table: string): Promise<number> =>
  Number((await server.run(`SELECT count(*) AS n FROM ${table}`))[0]?.['n']);

/** A process that opens the store and writes one result. */
async function runProcess(url: string, id: string): Promise<{ readonly code: number; readonly output: string }> {
  const code = `
    const { openResultStore } = await import('./dist/results/from-url.js');
    const { silentLogger } = await import('./dist/core/logger.js');
    const store = await openResultStore({ url: ${JSON.stringify(url)}, logger: silentLogger, role: 'client' });
    await store.connect({ timeoutMs: 30_000 });
    console.log(await store.set([${JSON.stringify(success(id))}]));
    await store.close();`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  const [ended] = (await once(child, 'close')) as [number];
  return { code: ended, output };
}

test('four processes that start at once make one schema, and each can write', { timeout: 60_000 }, async () => {
  const url = server.urlOf({ schema: 'crowd' });
  const runs = await Promise.all([1, 2, 3, 4].map((at) => runProcess(url, `from-${at}`)));
  for (const run of runs) expect(run).toEqual({ code: 0, output: "[ 'stored' ]\n" });
  expect(await server.run('SELECT count(*)::int AS n FROM crowd.lovage_schema')).toEqual([{ n: 1 }]);
  expect(await count('crowd.results')).toBe(4);
});

test('a store that waits for another process to make the schema can be closed', async () => {
  const client = new pg.Client({ connectionString: server.url });
  await client.connect();
  await client.query("SELECT pg_advisory_lock(hashtextextended('lovage:migrate:held', 0))");
  const store = await open(server.urlOf({ schema: 'held' }));
  const outcomes = Promise.allSettled([
    store.connect({ timeoutMs: 60_000 }),
    store.wait('x', { signal: AbortSignal.timeout(60_000) }),
  ]);
  const waiting = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
  await until(async () => (await server.run(waiting)).length === 2, 'both of its connections to wait for the lock');
  await store.close();
  expect(await outcomes).toMatchObject([{ reason: { code: 'E_CLOSED' } }, { reason: { code: 'E_CLOSED' } }]);
  await client.end();
});

test('a sweep removes no more than it is told, then the rest, and nothing that is not over', async () => {
  const store = await open(server.urlOf({ schema: 'swept' }));
  const short = Array.from({ length: 250 }, (_, at) => `short-${at}`);
  await store.set([...short.map((id) => success(id, { ttlMs: 1 })), success('long'), success('endless', { ttlMs: null })]);
  const chords = store.chords;
  const steps = store.steps;
  if (!chords || !steps) throw new Error('the store counts no chords or keeps no steps');
  const end = { groupId: 'past', state: 'SUCCESS', resultJson: '1', ttlMs: 1 };
  await chords.report(short.map((taskId, index) => ({ ...end, taskId, index })));
  await chords.add?.('added', 'late', 1);
  await chords.report([{ ...end, groupId: 'present', taskId: 'p', index: 0, ttlMs: 600_000 }]);
  for (const name of ['a', 'b', 'c']) await steps.put({ taskId: 'past', name, resultJson: '1', epoch: 0, ttlMs: 1 });
  await steps.put({ taskId: 'present', name: 'a', resultJson: '1', epoch: 0, ttlMs: 600_000 });
  await store.swapSendKey?.({ key: 'past', expected: null, value: 'x', ttlMs: 1 });
  await store.claim('claimed', { ttlMs: 1 });
  // the row of a chord is looked at a minute later than it may go
  await server.run("UPDATE swept.chords SET sweep_at = '-infinity'");
  await untilWall(Date.now() + 20);

  const { sweep } = postgresResultsForTests(store);
  expect(await sweep(100)).toBe(100);
  expect(await count('swept.results')).toBe(153);
  expect(await count("swept.chord_parts WHERE group_id = 'past'")).toBe(150);
  expect(await count('swept.chords')).toBe(2);
  expect(await sweep(100)).toBe(100);
  expect(await sweep(100)).toBe(51);
  expect(await sweep(100)).toBe(0);
  expect(await server.run('SELECT id FROM swept.results ORDER BY id')).toEqual([{ id: 'endless' }, { id: 'long' }]);
  expect(await server.run('SELECT group_id FROM swept.chords')).toEqual([{ group_id: 'present' }]);
  expect(await server.run('SELECT task FROM swept.step_tasks JOIN swept.steps USING (task)')).toEqual([{ task: 'present' }]);
  expect(await count('swept.chord_parts')).toBe(1);
  expect(await count('swept.send_keys')).toBe(0);
  expect(await count('swept.chord_added')).toBe(0);
  expect(await store.get(['long', 'endless'])).toEqual([meta('long', 'SUCCESS'), meta('endless', 'SUCCESS')]);
});

test('one process sweeps at a time', async () => {
  const [one, other] = [await open(server.urlOf({ schema: 'turns' })), await open(server.urlOf({ schema: 'turns' }))];
  await one.connect({ timeoutMs: 10_000 });
  await other.connect({ timeoutMs: 10_000 });
  const client = new pg.Client({ connectionString: server.url });
  await client.connect();
  await client.query("SELECT pg_advisory_lock(hashtextextended('lovage:sweep:turns', 0))");
  expect(await postgresResultsForTests(other).sweep(10)).toBe(-1);
  await client.end();
  await until(async () => (await postgresResultsForTests(one).sweep(10)) === 0, 'the next to be let in');
});
