/** The pool of connections to PostgreSQL: bounded, patient until a deadline, and ending what nobody uses. */
import pg from 'pg';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { PostgresPool, type PostgresPoolOptions } from '../../src/clients/postgres.js';
import { parsePostgresUrl } from '../../src/clients/postgres-url.js';
import { silentLogger } from '../../src/core/logger.js';
import { until } from '../../src/testing/conformance/broker-kit.js';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.js';
import { type PostgresServer, startPostgres } from '../support/postgres-server.js';

let server: PostgresServer;
let proxy: FaultProxy;
const pools: PostgresPool[] = [];
beforeAll(async () => {
  server = await startPostgres();
  proxy = await startFaultProxy({ target: { host: '127.0.0.1', port: server.port } });
});
afterEach(async () => {
  for (const pool of pools.splice(0)) await pool.close();
  await proxy.pass();
});
afterAll(async () => {
  await proxy?.close();
  await server?.stop();
});

function open(url: string, more: Partial<PostgresPoolOptions> = {}): PostgresPool {
  const options = { target: parsePostgresUrl(url), logger: silentLogger, name: 'lovage:pool', prepare: async () => {} };
  const pool = new PostgresPool({ ...options, ...more });
  pools.push(pool);
  return pool;
}

/** Holds up whoever asks `HELD`, until the function that it resolves with is called. */
async function hold(): Promise<() => Promise<void>> {
  const client = new pg.Client({ connectionString: server.url });
  await client.connect();
  await client.query('SELECT pg_advisory_lock(7)');
  return () => client.end();
}

const HELD = { name: 'held', text: 'SELECT pg_advisory_lock(7), pg_advisory_unlock(7)' };
const SLEEP = { name: 'sleep', text: 'SELECT pg_sleep($1::float8)' };
const ONE = { name: 'one', text: 'SELECT 1::int AS one' };
const IN_TIME = { timeoutMs: 10_000 };

test('a statement waits for a connection that is free, and at its deadline says that none was', async () => {
  const pool = open(server.urlOf({ pool_max: '1' }));
  const release = await hold();
  const long = pool.query(HELD, [], IN_TIME);
  const next = pool.query(ONE, [], IN_TIME);
  await expect(pool.query(ONE, [], { timeoutMs: 200 })).rejects.toMatchObject({
    code: 'E_BROKER_UNREACHABLE',
    message: expect.stringMatching(/all 1 connections .* were busy: raise pool_max/),
  });
  await release();
  await long;
  expect(await next).toEqual([{ one: 1 }]);
  expect(pool.size).toBe(1);
});

test('it opens as many connections as it needs, no more than it may, and ends them when nobody uses them', async () => {
  const pool = open(server.urlOf({ pool_max: '3' }), { idleMs: 50 });
  await Promise.all(Array.from({ length: 12 }, () => pool.query(SLEEP, [0.05], IN_TIME)));
  expect(pool.size).toBeLessThanOrEqual(3);
  await until(() => pool.size === 0, 'the idle connections to be ended');
  expect(await pool.query(ONE, [], IN_TIME)).toEqual([{ one: 1 }]);
});

test('who waits is bounded: one more is refused at once', async () => {
  const pool = open(server.urlOf({ pool_max: '1' }));
  const release = await hold();
  const held = pool.query(HELD, [], IN_TIME);
  const waiting = Promise.allSettled(Array.from({ length: 10_000 }, () => pool.query(ONE, [], { timeoutMs: 600 })));
  await expect(pool.query(ONE, [], IN_TIME)).rejects.toMatchObject({ message: expect.stringContaining('10000 calls wait') });
  expect((await waiting).filter(({ status }) => status === 'fulfilled')).toEqual([]);
  await release();
  await held;
  expect(await pool.query(ONE, [], IN_TIME)).toEqual([{ one: 1 }]);
});

test('a signal ends a wait for a connection and a statement with its reason, and the connection is used again', async () => {
  const pool = open(server.urlOf({ pool_max: '1' }));
  const [running, queued] = [new AbortController(), new AbortController()];
  const release = await hold();
  const first = pool.query(HELD, [], { ...IN_TIME, signal: running.signal });
  const second = pool.query(ONE, [], { ...IN_TIME, signal: queued.signal });
  const outcomes = Promise.allSettled([first, second]);
  await until(() => pool.size === 1, 'the connection');
  running.abort(new Error('enough'));
  queued.abort(new Error('no more'));
  expect(await outcomes).toMatchObject([{ reason: { message: 'enough' } }, { reason: { message: 'no more' } }]);
  await release();
  expect(await pool.query(ONE, [], IN_TIME)).toEqual([{ one: 1 }]);
  expect(pool.size).toBe(1);
});

test('a server that takes no more connections of the role is waited for, and named at the deadline', async () => {
  await server.run("CREATE ROLE narrow LOGIN PASSWORD 'n' CONNECTION LIMIT 1");
  const url = server.urlOf({ pool_max: '1' }, 'narrow:n');
  const [one, other] = [open(url), open(url)];
  await one.query(ONE, [], IN_TIME);
  await expect(other.query(ONE, [], { timeoutMs: 500 })).rejects.toMatchObject({
    code: 'E_BROKER_UNREACHABLE',
    message: expect.stringMatching(/takes no more connections .*lower pool_max, now 1/),
  });
  const waiting = other.query(ONE, [], IN_TIME);
  await one.close();
  expect(await waiting).toEqual([{ one: 1 }]);
});

test('a server that answers nothing any more is left at the deadline, and the next statement has a new connection', async () => {
  const pool = open(proxy.url(server.url));
  await pool.query(ONE, [], IN_TIME);
  proxy.blackHole();
  await expect(pool.query(ONE, [], { timeoutMs: 400 })).rejects.toMatchObject({
    code: expect.stringMatching(/^E_(CONNECTION_LOST|BROKER_UNREACHABLE)$/),
  });
  await proxy.pass();
  proxy.reset();
  expect(await pool.query(ONE, [], IN_TIME)).toEqual([{ one: 1 }]);
});

test('a statement that the server cancels counts as an outage, and the message names the setting', async () => {
  await server.run("CREATE ROLE hasty LOGIN PASSWORD 'h'; ALTER ROLE hasty SET statement_timeout = '50ms'");
  const pool = open(server.urlOf({}, 'hasty:h'));
  await expect(pool.query(SLEEP, [5], IN_TIME)).rejects.toMatchObject({
    code: 'E_CONNECTION_LOST',
    message: expect.stringContaining('statement_timeout and lock_timeout of user "hasty"'),
  });
  expect(await pool.query(ONE, [], IN_TIME)).toEqual([{ one: 1 }]);
});

test('after close() statements are refused, also those that wait', async () => {
  const pool = open(server.urlOf({ pool_max: '1' }));
  const held = pool.query(SLEEP, [5], IN_TIME);
  const waiting = pool.query(ONE, [], IN_TIME);
  const outcomes = Promise.allSettled([held, waiting]);
  await until(() => pool.size === 1, 'the connection');
  await pool.close();
  expect(await outcomes).toMatchObject([{ reason: { code: 'E_CLOSED' } }, { reason: { code: 'E_CLOSED' } }]);
  await expect(pool.query(ONE, [], IN_TIME)).rejects.toMatchObject({ code: 'E_CLOSED' });
});
