/**
 * A primary, a replica and three sentinels that watch them, all private: for tests and drills of fail-overs.
 * They die with the process that started them.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { type RedisServer, type RedisTls, startRedis, tlsArguments } from './redis-server.js';

export interface SentinelSet {
  /** `sentinel://…/0?master=mymaster` */
  readonly url: string;
  /** The two servers; which of them is the primary changes. */
  readonly servers: readonly [RedisServer, RedisServer];
  /** The primary as the sentinels see it. */
  primary(): Promise<RedisServer>;
  /** A planned fail-over; resolves when the sentinels name the other server and it is a primary. */
  failover(): Promise<void>;
  /** Resolves when the sentinels name another server than this one and that is a primary. */
  promoted(old: RedisServer): Promise<RedisServer>;
  stop(): Promise<void>;
}

export interface SentinelOptions {
  /** Everybody speaks TLS, and nothing else: servers, sentinels, and both among themselves. */
  readonly tls?: RedisTls;
  /** Of the servers. */
  readonly password?: string;
  readonly sentinelPassword?: string;
}

const SENTINELS = 3;
const NAME = 'mymaster';

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => (address && typeof address === 'object' ? resolve(address.port) : reject(new Error('no port'))));
    });
  });
}

async function eventually<T>(look: () => Promise<T | null>, what: string): Promise<T> {
  const endMs = performance.now() + 30_000;
  for (;;) {
    const found = await look().catch(() => null);
    if (found !== null) return found;
    if (performance.now() > endMs) throw new Error(`waited 30 s in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const quickClient = (port: number, password: string | undefined, tls: RedisTls | undefined): Redis => {
  const client = new Redis({
    ...{ port, host: '127.0.0.1', protocol: 2, retryStrategy: () => 50, maxRetriesPerRequest: 3 },
    ...(password === undefined ? {} : { password }),
    ...(tls ? { tls: { ca: readFileSync(tls.ca) } } : {}),
  });
  client.on('error', () => {});
  return client;
};

/** `--name value` pairs as lines of a file. */
function configLines(args: readonly string[]): string[] {
  return args.join(' ').split(/ ?--/).slice(1);
}

/** Starts everything; resolves when each sentinel knows the replica and the other sentinels. */
export async function startSentinels(options: SentinelOptions = {}): Promise<SentinelSet> {
  const { tls, password, sentinelPassword } = options;
  const folder = mkdtempSync(join(tmpdir(), 'lovage-sentinels-'));
  const args = ['--repl-diskless-sync-delay', '0', ...(password ? ['--requirepass', password, '--masterauth', password] : [])];
  const secured = tls ? { tls } : {};
  const primary = await startRedis({ args, ...secured });
  const replica = await startRedis({ args: [...args, '--replicaof', '127.0.0.1', String(primary.port)], ...secured });
  const servers = [primary, replica] as const;
  const children: ChildProcess[] = [];
  const ports: number[] = [];
  const killAll = (): void => {
    for (const child of children) child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  };
  process.once('exit', killAll);
  for (let number = 0; number < SENTINELS; number += 1) {
    const port = await freePort();
    const config = join(folder, `sentinel${number}.conf`);
    writeFileSync(
      config,
      [
        ...(tls ? configLines(tlsArguments(port, tls)) : [`port ${port}`]),
        'bind 127.0.0.1',
        `dir ${folder}`,
        `sentinel monitor ${NAME} 127.0.0.1 ${primary.port} 2`,
        `sentinel down-after-milliseconds ${NAME} 1000`,
        `sentinel failover-timeout ${NAME} 5000`,
        ...(password ? [`sentinel auth-pass ${NAME} ${password}`] : []),
        ...(sentinelPassword ? [`requirepass ${sentinelPassword}`, `sentinel sentinel-pass ${sentinelPassword}`] : []),
        '',
      ].join('\n'),
    );
    children.push(spawn('redis-server', [config, '--sentinel'], { stdio: 'ignore' }));
    ports.push(port);
  }
  const sentinels = ports.map((port) => quickClient(port, sentinelPassword, tls));
  const [first] = sentinels as [Redis];
  const named = async (): Promise<RedisServer | null> => {
    const [, port] = (await first.call('SENTINEL', 'get-master-addr-by-name', NAME)) as [string, string];
    return servers.find((server) => server.port === Number(port)) ?? null;
  };
  const isPrimary = async (server: RedisServer): Promise<boolean> => {
    const client = quickClient(server.port, password, tls);
    try {
      return ((await client.call('ROLE')) as string[])[0] === 'master';
    } finally {
      client.disconnect();
    }
  };
  const promoted = (old: RedisServer): Promise<RedisServer> =>
    eventually(async () => {
      const server = await named();
      return server !== null && server !== old && (await isPrimary(server)) ? server : null;
    }, 'another primary');
  for (const sentinel of sentinels) {
    await eventually(async () => {
      const [facts] = (await sentinel.call('SENTINEL', 'masters')) as string[][];
      const field = (name: string): number => Number(facts?.[facts.indexOf(name) + 1]);
      return field('num-slaves') === 1 && field('num-other-sentinels') === SENTINELS - 1 ? true : null;
    }, 'sentinels that know each other');
  }
  return {
    url: `${tls ? 'rediss+' : ''}sentinel://${password ? `:${password}@` : ''}${ports.map((port) => `127.0.0.1:${port}`).join(',')}/0?master=${NAME}${sentinelPassword ? `&sentinel_password=${sentinelPassword}` : ''}${tls ? `&ssl_ca_certs=${tls.ca}` : ''}`,
    servers,
    primary: () => eventually(named, 'the primary'),
    promoted,
    async failover() {
      const old = await eventually(named, 'the primary');
      // refused until the sentinels have seen the replica for long enough
      await eventually(async () => ((await first.call('SENTINEL', 'FAILOVER', NAME)) === 'OK' ? true : null), 'a fail-over');
      await promoted(old);
    },
    async stop() {
      process.off('exit', killAll);
      for (const sentinel of sentinels) sentinel.disconnect();
      killAll();
      for (const server of servers) await server.stop();
    },
  };
}
