/**
 * The private brokers of a drill: started for it, killed and restarted by it, and removed after it. Durable as a careful
 * operator has them: Redis with an append-only file and fsync at each write, RabbitMQ with durable queues.
 * Also looks into the dead letters past Lovage, with the broker's own client, so that "parked" is not a claim of ours.
 */
import { join } from 'node:path';
import { connect as connectAmqp } from 'amqplib';
import { Redis } from 'ioredis';
import { loadDriver } from '../../src/clients/sqlite/driver.js';
import { startRabbitmq } from '../../tests/support/rabbitmq-server.js';
import { startRedis } from '../../tests/support/redis-server.js';

export type BrokerName = 'file' | 'redis' | 'rabbitmq';
export const BROKER_NAMES: readonly BrokerName[] = ['file', 'redis', 'rabbitmq'];

/** What a server can suffer; an embedded file has no server. */
export interface ServerFaults {
  readonly port: number;
  kill9(): Promise<void>;
  restart(): Promise<void>;
  /** SIGSTOP: connections stay open and nothing answers. */
  pause(): void;
  resume(): void;
  /** Takes no more messages because of its memory; `null` where there is no such alarm. */
  readonly alarm: { raise(): void; clear(): void } | null;
}

export interface DrillBroker {
  readonly name: BrokerName;
  readonly brokerUrl: string;
  readonly resultUrl: string;
  readonly server: ServerFaults | null;
  /** Texts of all parked messages, as the broker holds them: an id of a parked task stands in one of them. */
  deadTexts(): Promise<readonly string[]>;
  close(): Promise<void>;
}

async function openFile(folder: string): Promise<DrillBroker> {
  const file = join(folder, 'queue.db');
  return {
    ...{ name: 'file', brokerUrl: `file:${file}`, resultUrl: `file:${file}`, server: null },
    async deadTexts() {
      const database = (await loadDriver()).open(file);
      try {
        const rows = database.prepare('SELECT * FROM dead').all([]);
        return rows.map((row) => Object.values(row).map(asText).join(' '));
      } finally {
        database.close();
      }
    },
    async close() {},
  };
}

const asText = (value: unknown): string => (value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : String(value));

async function openRedis(): Promise<DrillBroker> {
  const server = await startRedis({ durable: true });
  return {
    ...{ name: 'redis', brokerUrl: server.url, resultUrl: server.url },
    server: {
      port: server.port,
      kill9: () => server.kill9(),
      restart: () => server.restart(),
      pause: () => server.pause(),
      resume: () => server.resume(),
      alarm: null,
    },
    async deadTexts() {
      const client = new Redis(server.url);
      try {
        return Object.values(await client.hgetall('lovage:dead'));
      } finally {
        client.disconnect();
      }
    },
    close: () => server.stop(),
  };
}

/**
 * What dead-lettering meets a dead queue with while a killed broker starts again is tried anew after three minutes by default, and
 * delayed and claimed messages go that way: docs/guides/delays.md tells operators to lower it, and a drill is a careful one.
 */
const DEAD_LETTER_AGAIN_MS = 5_000;

/** Results in a Redis beside it: `rpc:` answers the sender only and has no fence. */
async function openRabbitmq(): Promise<DrillBroker> {
  const advanced = [`{dead_letter_worker_publisher_confirm_timeout, ${DEAD_LETTER_AGAIN_MS}}`];
  const [server, results] = await Promise.all([startRabbitmq({ advanced }), startRedis({ durable: true })]);
  return {
    ...{ name: 'rabbitmq', brokerUrl: server.url, resultUrl: results.url },
    server: {
      port: server.port,
      kill9: () => server.kill9(),
      restart: () => server.restart(),
      pause: () => server.signal('SIGSTOP'),
      resume: () => server.signal('SIGCONT'),
      alarm: {
        raise: () => void server.ctl('set_vm_memory_high_watermark', '0.0000001'),
        clear: () => void server.ctl('set_vm_memory_high_watermark', '0.4'),
      },
    },
    async deadTexts() {
      const connection = await connectAmqp(server.url);
      try {
        const channel = await connection.createChannel();
        const texts: string[] = [];
        await channel.assertQueue('lovage.dead', { durable: true });
        // Not acked: closing the channel puts them back.
        for (let got = await channel.get('lovage.dead'); got; got = await channel.get('lovage.dead')) {
          texts.push(JSON.stringify(got.properties) + got.content.toString('latin1'));
        }
        return texts;
      } finally {
        await connection.close();
      }
    },
    async close() {
      await Promise.all([server.stop(), results.stop()]);
    },
  };
}

export function openBroker(name: BrokerName, folder: string): Promise<DrillBroker> {
  if (name === 'file') return openFile(folder);
  return name === 'redis' ? openRedis() : openRabbitmq();
}
