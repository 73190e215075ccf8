/**
 * A private PostgreSQL server in a temporary folder on a free port of 127.0.0.1, for tests and benchmarks: everything is flushed as in
 * production. It never touches a server that runs already, and dies with the process that started it. One a test file: a start takes
 * a second or two, a schema or a database of one's own takes none.
 *
 * PostgreSQL refuses to run as root; there it runs as the user that the package brings.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { appendFileSync, chmodSync, chownSync, copyFileSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { findPostgres } from '../../scripts/environment.mjs';
import { freePort } from './redis-server.js';

export interface PostgresServerOptions {
  /** More settings, for example `['max_connections=12']`. */
  readonly settings?: readonly string[];
  /** Paths of PEM files: the server speaks TLS too. */
  readonly tls?: { readonly cert: string; readonly key: string };
}

export interface PostgresServer {
  /** `postgresql://lovage@127.0.0.1:<port>/postgres`: a superuser, without a password. */
  readonly url: string;
  readonly port: number;
  /** The same place with a schema, other options, and another user. */
  urlOf(options: Readonly<Record<string, string>>, user?: string): string;
  /** Runs statements on a connection of its own; rows of the last. */
  run(sql: string, database?: string): Promise<readonly Record<string, unknown>[]>;
  /** Ends every connection of the drivers. */
  killConnections(): Promise<void>;
  /** SIGKILL, as if the machine had died; the port and the folder stay for `restart()`. */
  kill9(): Promise<void>;
  /** Starts it again on the same port and folder (after killing it, if it runs; SIGQUIT is `pg_ctl stop -m immediate`). */
  restart(signal?: 'SIGKILL' | 'SIGQUIT'): Promise<void>;
  /** Starts it again as a standby, until `SELECT pg_promote()`. */
  restartAsStandby(): Promise<void>;
  /** Ends the server and removes its folder. Safe to call twice. */
  stop(): Promise<void>;
}

const START_LIMIT_MS = 30_000;

/** Why the suites that need PostgreSQL cannot run here, or `null`. */
export function postgresMissing(): string | null {
  return findPostgres('postgres') && findPostgres('initdb')
    ? null
    : 'the server of postgresql is not installed (npm run setup:servers)';
}

/** Who it runs as: `null` = we may ourselves. */
function otherUser(): { readonly uid: number; readonly gid: number } | null {
  if (process.getuid?.() !== 0) return null;
  for (const name of ['postgres', 'nobody']) {
    const [uid, gid] = ['-u', '-g'].map((flag) => spawnSync('id', [flag, name], { encoding: 'utf8' }).stdout.trim());
    if (uid && gid) return { uid: Number(uid), gid: Number(gid) };
  }
  throw new Error('there is no user postgres or nobody, and PostgreSQL refuses to run as root');
}

function makeFolder(user: ReturnType<typeof otherUser>): string {
  // the other user must get through a temporary folder that the test runner has made for itself
  if (user && statSync(tmpdir()).uid === process.getuid?.()) chmodSync(tmpdir(), statSync(tmpdir()).mode | 0o011);
  const folder = mkdtempSync(join(tmpdir(), 'lovage-postgres-'));
  if (user) chownSync(folder, user.uid, user.gid);
  return folder;
}

/** Resolves when the server says that it takes connections; rejects with its output if it ends before. */
function launch(port: number, folder: string, user: ReturnType<typeof otherUser>): Promise<ChildProcess> {
  const child = spawn(findPostgres('postgres') ?? 'postgres', ['-D', join(folder, 'data'), '-p', String(port)], {
    cwd: folder,
    env: { ...process.env, LC_ALL: 'C', TZ: 'UTC' },
    stdio: ['ignore', 'ignore', 'pipe'],
    ...(user ?? {}),
  });
  return new Promise((resolve, reject) => {
    let output = '';
    const timer = setTimeout(() => child.kill('SIGKILL'), START_LIMIT_MS);
    child.stderr?.on('data', (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-8_000);
      if (!/ready to accept (?:read-only )?connections/.test(output)) return;
      clearTimeout(timer);
      child.stderr?.removeAllListeners('data').resume();
      resolve(child);
    });
    child.once('error', reject);
    child.once('exit', (code) => {
      clearTimeout(timer);
      reject(new Error(`postgres ended with ${code} before it was ready:\n${output}`));
    });
  });
}

function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => child.once('exit', () => resolve()));
}

function prepare(folder: string, { settings = [], tls }: PostgresServerOptions, user: ReturnType<typeof otherUser>): void {
  const data = join(folder, 'data');
  const made = spawnSync(
    findPostgres('initdb') ?? 'initdb',
    ['-D', data, '-U', 'lovage', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'],
    { cwd: folder, encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' }, ...(user ?? {}) },
  );
  if (made.status !== 0) throw new Error(`initdb failed: ${made.stderr || made.stdout || String(made.error)}`);
  // it refuses a key that others may read
  for (const [name, path] of Object.entries(tls ?? {})) {
    const copy = join(data, `server.${name}`);
    copyFileSync(path, copy);
    chmodSync(copy, 0o600);
    if (user) chownSync(copy, user.uid, user.gid);
  }
  const lines = [
    "listen_addresses = '127.0.0.1'",
    "unix_socket_directories = ''",
    'fsync = on',
    'shared_buffers = 32MB',
    'dynamic_shared_memory_type = mmap',
    ...(tls ? ['ssl = on', "ssl_cert_file = 'server.cert'", "ssl_key_file = 'server.key'"] : []),
    ...settings.map((setting) => setting.replace('=', ' = ')),
  ];
  appendFileSync(join(data, 'postgresql.conf'), `\n${lines.join('\n')}\n`);
  // the superuser of the tests comes in as it is; everybody else needs a password
  const who = ['host all lovage 127.0.0.1/32 trust', 'host all all 127.0.0.1/32 scram-sha-256'];
  writeFileSync(join(data, 'pg_hba.conf'), `${who.join('\n')}\n`);
}

/** Starts a private server. @throws Error with the server's output when it cannot start */
export async function startPostgres(options: PostgresServerOptions = {}): Promise<PostgresServer> {
  const user = otherUser();
  const folder = makeFolder(user);
  const remove = (): void => rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  let port = 0;
  let child: ChildProcess | undefined;
  try {
    prepare(folder, options, user);
    for (let tries = 0; !child; tries += 1) {
      port = await freePort();
      // another process may have taken the port between the probe and the start
      child = await launch(port, folder, user).catch((error: unknown) => {
        if (tries >= 4 || !String(error).includes('could not bind')) throw error;
        return undefined;
      });
    }
  } catch (error) {
    remove();
    throw error;
  }
  let current = child;
  const killAtExit = (): void => {
    current.kill('SIGKILL');
    remove();
  };
  process.once('exit', killAtExit);
  const urlOf = (query: Readonly<Record<string, string>>, as = 'lovage'): string => {
    const { database = 'postgres', ...rest } = query;
    return `postgresql://${as}@127.0.0.1:${port}/${database}?${new URLSearchParams(rest)}`;
  };
  const run: PostgresServer['run'] = async (sql, database = 'postgres') => {
    const client = new pg.Client({ host: '127.0.0.1', port, user: 'lovage', database, ssl: false });
    await client.connect();
    try {
      const results: unknown = await client.query(sql);
      const last = (Array.isArray(results) ? results.at(-1) : results) as { readonly rows: Record<string, unknown>[] };
      return last.rows;
    } finally {
      await client.end();
    }
  };
  const kill = async (signal: NodeJS.Signals): Promise<void> => {
    current.kill(signal);
    await ended(current);
  };
  const restart: PostgresServer['restart'] = async (signal = 'SIGKILL') => {
    await kill(signal);
    // its children may need a moment to find out that it is gone, and hold its memory until then
    for (let tries = 0; ; tries += 1) {
      try {
        current = await launch(port, folder, user);
        return;
      } catch (error) {
        if (tries >= 100 || !/still in use|could not bind/.test(String(error))) throw error;
      }
    }
  };
  return {
    ...{ port, urlOf, run, restart },
    kill9: () => kill('SIGKILL'),
    url: `postgresql://lovage@127.0.0.1:${port}/postgres`,
    async killConnections() {
      await run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'lovage:%'");
    },
    async restartAsStandby() {
      writeFileSync(join(folder, 'data', 'standby.signal'), '');
      await restart();
    },
    async stop() {
      process.off('exit', killAtExit);
      // immediate: nothing is to be saved, but its children end too
      current.kill('SIGQUIT');
      await ended(current);
      remove();
    },
  };
}
