/**
 * A private redis-server in a temporary folder on a free port of 127.0.0.1, for tests, drills and benchmarks.
 * It never touches a server that runs already, and dies with the process that started it.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface RedisServerOptions {
  /** Append-only file with fsync at each write: data survives `kill9()`. Default false: memory only. */
  readonly durable?: boolean;
  /** More arguments for redis-server, for example `['--maxmemory', '10mb', '--maxmemory-policy', 'noeviction']`. */
  readonly args?: readonly string[];
  /** The port speaks TLS, and nothing else. */
  readonly tls?: RedisTls;
}

/** Paths of PEM files. */
export interface RedisTls {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  /** Whether clients must show a certificate of that authority; default no. */
  readonly asksClients?: boolean;
}

/** Arguments, or lines of a configuration file without their dashes, of a server that speaks TLS. */
export function tlsArguments(port: number, { ca, cert, key, asksClients = false }: RedisTls): string[] {
  return [
    ...['--port', '0', '--tls-port', String(port)],
    ...['--tls-ca-cert-file', ca, '--tls-cert-file', cert, '--tls-key-file', key],
    ...['--tls-auth-clients', asksClients ? 'yes' : 'no', '--tls-replication', 'yes'],
  ];
}

export interface RedisServer {
  /** `redis://127.0.0.1:<port>/0`, with TLS `rediss://…` */
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** Ends the server and removes its folder. Safe to call twice. */
  stop(): Promise<void>;
  /** SIGKILL, as if the machine had died; the port and the folder stay for `restart()`. */
  kill9(): Promise<void>;
  /** Starts it again on the same port and folder (after ending it, if it runs). */
  restart(): Promise<void>;
  /** SIGSTOP: connections stay open and nothing answers. */
  pause(): void;
  /** SIGCONT. */
  resume(): void;
}

/** Why the suites that need Redis cannot run here, or `null`. */
export function redisMissing(): string | null {
  const found = spawnSync('redis-server', ['--version'], { stdio: 'ignore' });
  return found.error ? 'redis-server is not installed (npm run setup:servers)' : null;
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => (address && typeof address === 'object' ? resolve(address.port) : reject(new Error('no port'))));
    });
  });
}

/** Resolves when the server says that it takes connections; rejects with its output if it ends before. */
function launch(port: number, folder: string, options: RedisServerOptions): Promise<ChildProcess> {
  const persistence = options.durable ? ['--appendonly', 'yes', '--appendfsync', 'always'] : ['--appendonly', 'no'];
  const child = spawn(
    'redis-server',
    [
      ...(options.tls ? tlsArguments(port, options.tls) : ['--port', String(port)]),
      '--bind',
      '127.0.0.1',
      '--dir',
      folder,
      '--save',
      '',
      ...persistence,
      ...(options.args ?? []),
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  return new Promise((resolve, reject) => {
    let output = '';
    const onOutput = (chunk: Buffer): void => {
      output += chunk.toString();
      if (!output.includes('Ready to accept connections')) return;
      child.stdout?.off('data', onOutput).resume();
      resolve(child);
    };
    child.stdout?.on('data', onOutput);
    child.stderr?.on('data', (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-4_000);
    });
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`redis-server ended with ${code} before it was ready:\n${output}`)));
  });
}

function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => child.once('exit', () => resolve()));
}

/** Starts a private server. @throws Error with the server's output when it cannot start */
export async function startRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-redis-'));
  let port = 0;
  let child: ChildProcess | undefined;
  for (let tries = 0; !child; tries += 1) {
    port = await freePort();
    try {
      child = await launch(port, folder, options);
    } catch (error) {
      // Another process may have taken the port between the probe and the start.
      if (tries >= 4 || !String(error).includes('Address already in use')) {
        rmSync(folder, { recursive: true, force: true });
        throw error;
      }
    }
  }
  let current = child;
  const killAtExit = (): void => {
    current.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  };
  process.once('exit', killAtExit);
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    current.kill('SIGCONT');
    current.kill(signal);
    await ended(current);
  };
  return {
    url: `${options.tls ? 'rediss' : 'redis'}://127.0.0.1:${port}/0`,
    port,
    get pid() {
      return current.pid ?? 0;
    },
    async stop() {
      process.off('exit', killAtExit);
      // KILL, not TERM: nothing is to be saved, and a server inside a long script ignores TERM.
      await end('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    },
    kill9: () => end('SIGKILL'),
    async restart() {
      await end('SIGTERM');
      current = await launch(port, folder, options);
    },
    pause() {
      current.kill('SIGSTOP');
    },
    resume() {
      current.kill('SIGCONT');
    },
  };
}
