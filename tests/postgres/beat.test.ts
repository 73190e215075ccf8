/** Schedules in PostgreSQL: what only this store has to hold. Connections that break, take-overs that meet decisions, poolers, rights, bounds. */
import { readFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { ROOT } from '../../scripts/environment.mjs';
import { type BeatListener, type BeatStore, type EntryChange, type Firing, MOST_CHANGES } from '../../src/beat/beat-store.js';
import { openPostgresBeat } from '../../src/beat/stores/postgres/index.js';
import { type Logger, silentLogger } from '../../src/core/logger.js';
import { until } from '../../src/testing/conformance/broker-kit.js';
import { type PostgresServer, startPostgres } from '../support/postgres-server.js';

let server: PostgresServer;
let places = 0;
const cleanups: (() => unknown)[] = [];
beforeAll(async () => {
  server = await startPostgres();
}, 60_000);
afterAll(async () => {
  await server?.stop();
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const PATIENCE_MS = 20_000;

/** Stores of one place, each with connections of its own. */
function place(): { readonly url: string; open(app?: string, url?: string, logger?: Logger): Promise<BeatStore> } {
  places += 1;
  const own = server.urlOf({ schema: `beat_${places}` });
  return {
    url: own,
    async open(app = 'one', url = own, logger = silentLogger) {
      const store = await openPostgresBeat({ url, app, logger, brokerUrl: 'amqp://localhost' });
      cleanups.push(() => store.close());
      return store;
    },
  };
}

const put = (id: string, definition = '{}', expect?: number): EntryChange => ({
  ...{ kind: 'put', id, definition, paused: false },
  ...(expect !== undefined && { expect }),
});
const firing = (id: string, revision: number, seq: number): Firing => ({
  ...{ id, revision, seq, state: `{"seq":${seq + 1}}`, messages: [], request: null },
});

/** What a listener heard, in order: `up`, `down`, `news`, or the owner who leads. */
async function listening(store: BeatStore): Promise<string[]> {
  const heard: string[] = [];
  const listener: BeatListener = {
    onUp: () => void heard.push('up'),
    onDown: () => void heard.push('down'),
    onChange: () => void heard.push('news'),
    onLead: ({ owner }) => void heard.push(`lead ${owner}`),
  };
  await store.listen(listener);
  return heard;
}

/** Waits until something was heard so often, and nothing else matters. */
const hears = (heard: readonly string[], what: string, times = 1): Promise<void> =>
  until(() => heard.filter((one) => one === what).length >= times, `${what}, ${times} times`, PATIENCE_MS);

test('a listener whose connection is lost is told so, hears again by itself, and calls go on meanwhile', {
  timeout: 60_000,
}, async () => {
  const { open } = place();
  const [store, other] = [await open(), await open()];
  const heard = await listening(store);
  await hears(heard, 'up');
  await server.killConnections();
  expect(await other.change([put('a')])).toEqual(['done']);
  expect((await store.get('a'))?.id).toBe('a');
  await hears(heard, 'up', 2);
  expect(heard.indexOf('down')).toBeLessThan(heard.lastIndexOf('up'));
  await other.change([put('b')]);
  await hears(heard, 'news');
});

test('what was decided and who leads outlives the death of the server, and everybody is back by himself', {
  timeout: 60_000,
}, async () => {
  const { open } = place();
  const [store, other] = [await open(), await open()];
  await store.change([put('a')]);
  const lead = await store.takeLead('one', 0);
  const revision = (await store.get('a'))?.revision ?? 0;
  expect(await store.fire(lead.epoch, [firing('a', revision, 0)])).toEqual(['done']);
  const heard = await listening(other);
  await hears(heard, 'up');
  await server.restart();
  await hears(heard, 'up', 2);
  expect(await other.lead()).toEqual(lead);
  expect(await other.get('a')).toMatchObject({ seq: 1, state: '{"seq":1}' });
  await store.beat(lead);
  await hears(heard, 'lead one');
});

test('however a decision and a take-over meet, the older epoch decides nothing after it', { timeout: 60_000 }, async () => {
  const { open } = place();
  const [older, newer] = [await open(), await open()];
  await older.change([put('a')]);
  const revision = (await older.get('a'))?.revision ?? 0;
  let seq = 0;
  let epoch = 0;
  const met = { before: 0, after: 0 };
  for (let round = 0; round < 60; round += 1) {
    epoch = (await older.takeLead('older', epoch)).epoch;
    const decide = (): Promise<unknown> => older.fire(epoch, [firing('a', revision, seq)]);
    const take = newer.takeLead('newer', epoch);
    const answer = round % 2 === 0 ? await decide() : await Promise.all([take, decide()]).then(([, decided]) => decided);
    const taken = await take;
    expect(taken).toEqual({ owner: 'newer', epoch: epoch + 1 });
    met[answer === null ? 'after' : 'before'] += 1;
    if (answer !== null) seq += 1;
    expect(await decide()).toBeNull();
    expect((await newer.get('a'))?.seq).toBe(seq);
    epoch = taken.epoch;
  }
  expect(met.before + met.after).toBe(60);
});

test('a take-over waits for a decision that is under way, and what comes after it is refused', { timeout: 60_000 }, async () => {
  const { url, open } = place();
  const [older, newer] = [await open(), await open()];
  await older.change([put('a')]);
  const revision = (await older.get('a'))?.revision ?? 0;
  const { epoch } = await older.takeLead('older', 0);
  await newer.lead();
  // somebody holds the row of the entry, so that the decision stops in its middle
  const holder = new pg.Client({ connectionString: server.url });
  await holder.connect();
  cleanups.push(() => holder.end());
  const schema = new URL(url).searchParams.get('schema');
  await holder.query(`BEGIN; SELECT 1 FROM "${schema}".beat_entries FOR UPDATE`);
  const waiting = async (): Promise<unknown> =>
    (await server.run("SELECT count(*)::int AS count FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))[0]?.['count'];
  const decided = older.fire(epoch, [firing('a', revision, 0)]);
  await until(async () => (await waiting()) === 1, 'the decision waits', PATIENCE_MS);
  const taken = newer.takeLead('newer', epoch);
  await until(async () => (await waiting()) === 2, 'the take-over waits behind it', PATIENCE_MS);
  await holder.query('COMMIT');
  expect(await decided).toEqual(['done']);
  expect(await taken).toEqual({ owner: 'newer', epoch: epoch + 1 });
  expect(await older.fire(epoch, [firing('a', revision, 1)])).toBeNull();
});

test('a put whose answer was lost may be repeated: it finds what it wrote, and is no edit of somebody else', async () => {
  const store = await place().open();
  expect(await store.change([put('a', '1', 0), put('a', '1', 0), put('a', '2', 0)])).toEqual(['done', 'done', 'conflict']);
  const { version } = await store.load();
  expect(version).toBe((await store.get('a'))?.revision);
});

test('news say that an entry was removed even if it has been added again', async () => {
  const store = await place().open();
  await store.change([put('a'), put('b')]);
  const { version } = await store.load();
  await store.change([{ kind: 'remove', id: 'a' }, put('a', 'new')]);
  expect(await store.changesSince(version)).toMatchObject({ removed: ['a'], entries: [{ id: 'a', definition: 'new', seq: 0 }] });
});

test('entries that were removed are remembered up to a number, and who knows less loads again', { timeout: 60_000 }, async () => {
  const { url, open } = place();
  const store = await open();
  const ids = Array.from({ length: MOST_CHANGES + 50 }, (_, n) => `e${n}`);
  await store.change(ids.map((id) => put(id)));
  const { version } = await store.load();
  await store.change(ids.map((id): EntryChange => ({ kind: 'remove', id })));
  const schema = new URL(url).searchParams.get('schema');
  const counted = await server.run(`SELECT count(*)::int AS kept FROM "${schema}".beat_removed`);
  expect(counted).toEqual([{ kept: MOST_CHANGES }]);
  expect(await store.changesSince(version)).toBeNull();
  expect((await store.changesSince(version + 50))?.removed).toHaveLength(MOST_CHANGES);
  expect(await server.run(`SELECT entries, requests, removed FROM "${schema}".beat_apps`)).toEqual([
    { entries: 0, requests: 0, removed: MOST_CHANGES },
  ]);
});

test('all entries are read, however many pages that takes', { timeout: 60_000 }, async () => {
  const store = await place().open();
  const ids = Array.from({ length: 4_001 }, (_, n) => `e${String(n).padStart(4, '0')}`);
  await store.change(ids.map((id) => put(id)));
  expect((await store.load()).entries.map(({ id }) => id)).toEqual(ids);
});

test('a listener hears of its own app alone', { timeout: 60_000 }, async () => {
  const { open } = place();
  const [one, two] = [await open('one'), await open('two')];
  const heard = await listening(one);
  await hears(heard, 'up');
  await two.change([put('a')]);
  await two.takeLead('somebody', 0);
  await one.change([put('b')]);
  await hears(heard, 'news');
  expect(heard).toEqual(['up', 'news']);
});

test('behind a pooler that swallows notifications a listener never counts as up, and says why', { timeout: 60_000 }, async () => {
  const { open, url } = place();
  const port = await swallowNotifications(server.port);
  const lines: string[] = [];
  const logger: Logger = { ...silentLogger, warn: (fields) => void lines.push(JSON.stringify(fields)) };
  const store = await open('one', url.replace(`:${server.port}`, `:${port}`), logger);
  const heard = await listening(store);
  await until(
    () => lines.some((line) => line.includes('PgBouncer in session mode')),
    () => `the reason is in the log: ${lines}`,
    PATIENCE_MS,
  );
  expect(heard).toEqual([]);
  expect(await store.change([put('a')])).toEqual(['done']);
});

test('a reason that comes after another is told too, each once', { timeout: 60_000 }, async () => {
  const { open, url } = place();
  const proxy = await swallowNotifications(server.port, { refusing: 2 });
  const lines: string[] = [];
  const logger: Logger = { ...silentLogger, warn: (fields) => void lines.push(String((fields as { cause?: string }).cause)) };
  const heard = await listening(await open('one', url.replace(`:${server.port}`, `:${proxy}`), logger));
  const isPooler = (line: string): boolean => line.includes('PgBouncer in session mode');
  await until(
    () => lines.some(isPooler),
    () => `the second reason is in the log: ${lines}`,
    PATIENCE_MS,
  );
  expect(isPooler(lines[0] ?? '')).toBe(false);
  expect(new Set(lines).size).toBe(lines.length);
  expect(heard).toEqual([]);
});

test('a role with the rights of the guide keeps schedules, and one without is told what to do', { timeout: 60_000 }, async () => {
  const guide = readFileSync(join(ROOT, 'docs/guides/postgresql.md'), 'utf8');
  const grants = /```sql\n(GRANT [\s\S]*?)```/.exec(guide)?.[1]?.replaceAll('lovage', 'beats');
  if (grants === undefined) throw new Error('the guide has no block of grants');
  await server.run("CREATE ROLE app LOGIN PASSWORD 'right-one'");
  const { open } = place();
  const asApp = server.urlOf({ schema: 'beats' }, 'app:right-one');
  await expect((await open('one', asApp)).connect({ timeoutMs: 5_000 })).rejects.toMatchObject({ code: 'E_BROKER_AUTH' });
  const admin = await open('one', server.urlOf({ schema: 'beats' }));
  await admin.connect({ timeoutMs: 5_000 });
  await server.run(grants);
  const store = await open('one', asApp);
  const heard = await listening(store);
  await hears(heard, 'up');
  await store.change([put('a')]);
  const { epoch } = await store.takeLead('one', 0);
  expect(await store.fire(epoch, [firing('a', (await store.get('a'))?.revision ?? 0, 0)])).toEqual(['done']);
  await hears(heard, 'news');
});

/** A proxy that carries all but messages of the kind NotificationResponse, and refuses so many connections first. @returns its port */
async function swallowNotifications(target: number, { refusing = 0 } = {}): Promise<number> {
  const sockets = new Set<Socket>();
  let refused = 0;
  const proxy: Server = createServer((client) => {
    if (refused < refusing) {
      refused += 1;
      return client.destroy();
    }
    const upstream = connect(target, '127.0.0.1');
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => socket.destroy()).on('close', () => [client, upstream].forEach((each) => each.destroy()));
    }
    client.on('data', (chunk) => upstream.write(chunk));
    let rest = Buffer.alloc(0);
    upstream.on('data', (chunk) => {
      rest = Buffer.concat([rest, chunk]);
      while (rest.length >= 5 && rest.length > rest.readInt32BE(1)) {
        const message = rest.subarray(0, rest.readInt32BE(1) + 1);
        rest = rest.subarray(message.length);
        if (message[0] !== 'A'.charCodeAt(0)) client.write(message);
      }
    });
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  cleanups.unshift(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise<void>((resolve) => proxy.close(() => resolve()));
  });
  return (proxy.address() as AddressInfo).port;
}
