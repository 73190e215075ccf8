/** What a PostgreSQL that does not let us in, or not do our work, is told as: a code, and what to do about it. Never the password. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ROOT } from '../../scripts/environment.mjs';
import { openBroker } from '../../src/brokers/from-url.js';
import { silentLogger } from '../../src/core/logger.js';
import { meta } from '../../src/testing/conformance/result-fixture.js';
import { Project } from '../cli/run-cli.js';
import { type PostgresServer, startPostgres } from '../support/postgres-server.js';
import { freePort } from '../support/redis-server.js';
import { makeTlsFiles, opensslMissing, type TlsFiles } from '../support/tls-files.js';
import { stores, success } from './postgres-kit.js';

let server: PostgresServer;
let tls: TlsFiles | undefined;
beforeAll(async () => {
  tls = opensslMissing() ? undefined : makeTlsFiles();
  server = await startPostgres(tls ? { tls: tls.sign('server', 'DNS:db.example') } : {});
  await server.run("CREATE ROLE app LOGIN PASSWORD 'right-one'");
  await server.run('CREATE DATABASE shop');
});
afterAll(async () => {
  await server?.stop();
  tls?.remove();
});
const open = stores();

/** The statements that the guide tells an administrator to run, for a role named app. */
function grantsOfTheGuide(): string {
  const guide = readFileSync(join(ROOT, 'docs/guides/postgresql.md'), 'utf8');
  const grants = /```sql\n(GRANT [\s\S]*?)```/.exec(guide)?.[1];
  if (grants === undefined) throw new Error('the guide has no block of grants');
  return grants;
}

/** The error of a store that cannot be used. */
async function refusalOf(url: string, timeoutMs = 5_000): Promise<{ readonly code: string; readonly message: string }> {
  const store = await open(url);
  const error = await store.connect({ timeoutMs }).then(
    () => null,
    (thrown: unknown) => thrown as { readonly code: string; readonly message: string },
  );
  if (error === null) throw new Error(`${url} was not refused`);
  return error;
}

test('a wrong password is E_BROKER_AUTH at once, for calls and for waits, and is told nowhere', async () => {
  const url = server.urlOf({}, 'app:wrong-one');
  const refusal = await refusalOf(url, 60_000);
  expect(refusal).toMatchObject({ code: 'E_BROKER_AUTH', message: expect.stringMatching(/check user and password/) });
  expect(JSON.stringify([refusal, refusal.message])).not.toContain('wrong-one');
  const store = await open(url);
  await expect(store.wait('x', { signal: AbortSignal.timeout(20_000) })).rejects.toMatchObject({ code: 'E_BROKER_AUTH' });
});

test('a worker whose results are refused ends with 77 and shows no password', async () => {
  const project = new Project();
  try {
    project.write(
      'tasks.mjs',
      "import { createApp } from 'lovage';\nexport const app = createApp({});\napp.fn('add', (x, y) => x + y);",
    );
    const worker = ['worker', '--app', './tasks.mjs', '--log-format', 'json', '--results'];
    const { code, stderr } = await project.run([...worker, server.urlOf({}, 'app:wrong-one')]);
    expect(stderr).toContain('"code":"E_BROKER_AUTH"');
    expect(stderr).not.toContain('wrong-one');
    expect(code).toBe(77);
  } finally {
    project.remove();
  }
});

test('a database that does not exist is E_BROKER_AUTH, with how to make it', async () => {
  expect(await refusalOf(server.urlOf({ database: 'shopp' }))).toMatchObject({
    code: 'E_BROKER_AUTH',
    message: expect.stringContaining('createdb shopp'),
  });
});

test('a server that is not there is E_BROKER_UNREACHABLE at the deadline, with what the system says', async () => {
  expect(await refusalOf(`postgresql://app:right-one@127.0.0.1:${await freePort()}/shop`, 300)).toMatchObject({
    code: 'E_BROKER_UNREACHABLE',
    message: expect.stringContaining('ECONNREFUSED'),
  });
});

test('a role that may not make the schema is told how it gets it, and works with the rights of the guide', async () => {
  const url = server.urlOf({ database: 'shop' }, 'app:right-one');
  expect(await refusalOf(url)).toMatchObject({
    code: 'E_BROKER_AUTH',
    message: expect.stringMatching(/docs\/guides\/postgresql\.md.*GRANT CREATE ON DATABASE/),
  });
  const owner = await open(server.urlOf({ database: 'shop' }));
  await owner.connect({ timeoutMs: 10_000 });
  expect(await refusalOf(url)).toMatchObject({ code: 'E_BROKER_AUTH' });
  await server.run(grantsOfTheGuide(), 'shop');
  const store = await open(url);
  expect(await store.set([success('granted')])).toEqual(['stored']);
  expect(await owner.get(['granted'])).toEqual([meta('granted', 'SUCCESS')]);
  expect(await store.wait('granted', { signal: AbortSignal.timeout(20_000) })).toBe(meta('granted', 'SUCCESS'));
  expect(await store.revocations?.add(['task'], 60_000)).toEqual([true]);
  await store.chords?.open([{ groupId: 'g', size: 1, body: '{}', deadlineMs: Date.now() + 60_000, ttlMs: 60_000 }]);
});

test('a schema with tables of another program is E_CONFIG_URL, and nothing in it is changed', async () => {
  await server.run('CREATE SCHEMA theirs; CREATE TABLE theirs.results(id int)');
  expect(await refusalOf(server.urlOf({ schema: 'theirs' }))).toMatchObject({
    code: 'E_CONFIG_URL',
    message: expect.stringContaining('?schema=NAME'),
  });
  const tables = await server.run("SELECT table_name FROM information_schema.tables WHERE table_schema = 'theirs'");
  expect(tables).toEqual([{ table_name: 'results' }]);
});

test('a schema of a newer version is used as long as it allows that, and is E_NOT_SUPPORTED after', async () => {
  await (await open(server.urlOf({ schema: 'newer' }))).connect({ timeoutMs: 10_000 });
  await server.run('UPDATE newer.lovage_schema SET version = 99');
  const store = await open(server.urlOf({ schema: 'newer' }));
  expect(await store.set([success('x')])).toEqual(['stored']);
  await server.run('UPDATE newer.lovage_schema SET oldest = 99');
  expect(await refusalOf(server.urlOf({ schema: 'newer' }))).toMatchObject({
    code: 'E_NOT_SUPPORTED',
    message: expect.stringContaining('upgrade every process'),
  });
});

test('a database that is not encoded as UTF-8 is E_NOT_SUPPORTED', async () => {
  await server.run("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'");
  expect(await refusalOf(server.urlOf({ database: 'latin' }))).toMatchObject({
    code: 'E_NOT_SUPPORTED',
    message: expect.stringContaining("ENCODING 'UTF8'"),
  });
});

test('a postgresql: URL as the broker is E_CONFIG_URL that says why, and shows no password', async () => {
  for (const url of ['postgresql://app:right-one@host/shop', 'postgres://app:right-one@host/shop']) {
    const error = await openBroker({ url, logger: silentLogger, role: 'client' }).then(
      () => null,
      (thrown: unknown) => thrown as Error,
    );
    expect(error).toMatchObject({ code: 'E_CONFIG_URL', message: expect.stringMatching(/no broker .*--results/) });
    expect(error?.message).not.toContain('right-one');
  }
});

test('TLS: the certificate is checked as far as sslmode says, and a refusal names the option that mends it', async () => {
  if (!tls) return expect(opensslMissing()).toBe('openssl is not installed');
  const encrypted = async (options: Readonly<Record<string, string>>): Promise<void> => {
    await (await open(server.urlOf(options))).connect({ timeoutMs: 10_000 });
  };
  await encrypted({ sslmode: 'require' });
  await encrypted({ sslmode: 'verify-ca', sslrootcert: tls.ca });
  await encrypted({ sslmode: 'verify-full', sslrootcert: tls.ca, servername: 'db.example' });
  expect(await refusalOf(server.urlOf({ sslmode: 'verify-full' }), 60_000)).toMatchObject({
    code: 'E_BROKER_AUTH',
    message: expect.stringMatching(/not trusted .*add sslrootcert=FILE/),
  });
  expect(await refusalOf(server.urlOf({ sslmode: 'verify-full', sslrootcert: tls.ca }), 60_000)).toMatchObject({
    code: 'E_BROKER_AUTH',
    message: expect.stringMatching(/for another name .*servername=NAME/),
  });
  const [row] = await server.run(
    "SELECT count(*)::int AS plain FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name LIKE 'lovage:%' AND NOT ssl",
  );
  expect(row).toEqual({ plain: 0 });
});
