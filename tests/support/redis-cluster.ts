/**
 * A private Redis Cluster: three masters, and if wanted a replica of the one that has the slot of a key. They die with the process that
 * started them.
 */
import { readFileSync } from 'node:fs';
import { Redis } from 'ioredis';
import { freePort, type RedisServer, type RedisServerOptions, type RedisTls, startRedis } from './redis-server.js';

export interface RedisCluster {
  /** `redis+cluster://…/?prefix=…` */
  url(prefix: string): string;
  readonly servers: readonly RedisServer[];
  /** Who has the slot of this key now, as all nodes see it. */
  owner(key: string): Promise<RedisServer>;
  /** Resolves when the replica has become the owner of the slot of this key. */
  promoted(key: string): Promise<RedisServer>;
  /** Moves the slot of a key to another master, key by key as `redis-cli --cluster reshard` does; `between` runs half way. */
  move(key: string, between?: () => Promise<void>): Promise<void>;
  stop(): Promise<void>;
}

const SLOTS = 16_384;
const MASTERS = 3;

const clientOf = (server: RedisServer, tls: RedisTls | undefined): Redis => {
  const client = new Redis({
    ...(tls ? { tls: { ca: readFileSync(tls.ca) } } : {}),
    port: server.port,
    host: '127.0.0.1',
    protocol: 2,
    retryStrategy: () => 50,
    maxRetriesPerRequest: 3,
  });
  client.on('error', () => {});
  return client;
};

async function eventually<T>(look: () => Promise<T | null>, what: string): Promise<T> {
  const endMs = performance.now() + 30_000;
  for (;;) {
    const found = await look().catch(() => null);
    if (found !== null) return found;
    if (performance.now() > endMs) throw new Error(`waited 30 s in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export interface ClusterOptions extends RedisServerOptions {
  /** A key whose owner gets a replica. */
  readonly replicaFor?: string;
}

export async function startCluster(options: ClusterOptions = {}): Promise<RedisCluster> {
  const servers: RedisServer[] = [];
  const buses: number[] = [];
  for (let number = 0; number < MASTERS + (options.replicaFor === undefined ? 0 : 1); number += 1) {
    // by default the port plus 10000, which may be none
    const bus = await freePort();
    buses.push(bus);
    const args = [
      ...(options.tls ? ['--tls-cluster', 'yes'] : []),
      '--cluster-enabled',
      'yes',
      '--cluster-port',
      String(bus),
      '--cluster-node-timeout',
      '2000',
    ];
    servers.push(await startRedis({ ...options, args: [...args, '--repl-diskless-sync-delay', '0', ...(options.args ?? [])] }));
  }
  const clients = servers.map((server) => clientOf(server, options.tls));
  const of = (server: RedisServer): Redis => clients[servers.indexOf(server)] as Redis;
  const idOf = async (server: RedisServer): Promise<string> => String(await of(server).call('CLUSTER', 'MYID'));
  const masters = servers.slice(0, MASTERS);
  for (const [number, server] of masters.entries()) {
    const [first, end] = [Math.floor((SLOTS / MASTERS) * number), Math.floor((SLOTS / MASTERS) * (number + 1))];
    await of(server).call('CLUSTER', 'ADDSLOTSRANGE', String(first), String(end - 1));
  }
  const [first] = clients as [Redis];
  for (const [number, server] of servers.entries())
    if (number > 0) await first.call('CLUSTER', 'MEET', '127.0.0.1', String(server.port), String(buses[number]));
  const isWhole = async (): Promise<true | null> => {
    for (const client of clients) {
      const info = String(await client.call('CLUSTER', 'INFO'));
      if (!info.includes('cluster_state:ok') || !info.includes(`cluster_known_nodes:${servers.length}`)) return null;
    }
    return true;
  };
  await eventually(isWhole, 'a cluster of all nodes');

  const slotOf = async (key: string): Promise<number> => Number(await (clients.at(-1) as Redis).call('CLUSTER', 'KEYSLOT', key));
  const named = async (client: Redis, slot: number): Promise<number> => {
    const ranges = (await client.call('CLUSTER', 'SLOTS')) as [number, number, [string, number]][];
    return ranges.find(([from, to]) => from <= slot && slot <= to)?.[2][1] ?? 0;
  };
  const alive = async (): Promise<Redis[]> => {
    const answers = await Promise.all(
      clients.map((client) =>
        client.ping().then(
          () => client,
          () => null,
        ),
      ),
    );
    return answers.filter((client) => client !== null);
  };
  const owner = async (key: string): Promise<RedisServer> => {
    const slot = await slotOf(key);
    return eventually(async () => {
      const ports = new Set(await Promise.all((await alive()).map((client) => named(client, slot))));
      const [port] = ports;
      return ports.size === 1 ? (servers.find((server) => server.port === port) ?? null) : null;
    }, 'nodes that agree');
  };

  const replica = servers[MASTERS];
  if (replica && options.replicaFor !== undefined) {
    const watched = await idOf(await owner(options.replicaFor));
    await eventually(async () => ((await of(replica).call('CLUSTER', 'REPLICATE', watched)) === 'OK' ? true : null), 'a replica');
    await eventually(
      async () => (/master_link_status:up/.test(await of(replica).info('replication')) ? true : null),
      'a replica that has everything',
    );
  }

  return {
    url: (prefix) =>
      `redis${options.tls ? 's' : ''}+cluster://${masters.map((server) => `127.0.0.1:${server.port}`).join(',')}/?prefix=${prefix}${options.tls ? `&ssl_ca_certs=${options.tls.ca}` : ''}`,
    servers,
    owner,
    promoted: (key) =>
      eventually(async () => {
        const slot = await slotOf(key);
        return replica && (await named(of(replica), slot)) === replica.port ? replica : null;
      }, 'the replica to be the owner'),
    async move(key, between) {
      const slot = String(await slotOf(key));
      const from = await owner(key);
      const to = masters.find((server) => server !== from) as RedisServer;
      const [fromId, toId] = [await idOf(from), await idOf(to)];
      await of(to).call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', fromId);
      await of(from).call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', toId);
      for (let round = 0; ; round += 1) {
        const keys = (await of(from).call('CLUSTER', 'GETKEYSINSLOT', slot, '2')) as string[];
        if (keys.length === 0) break;
        await of(from).call('MIGRATE', '127.0.0.1', String(to.port), '', '0', '5000', 'KEYS', ...keys);
        if (round === 0) await between?.();
      }
      for (const server of [to, from]) await of(server).call('CLUSTER', 'SETSLOT', slot, 'NODE', toId);
    },
    async stop() {
      for (const client of clients) client.disconnect();
      for (const server of servers) await server.stop();
    },
  };
}
