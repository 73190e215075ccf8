/** What the suite needs of a broker: to put anything at all into a queue, and to see what became of it. Servers are private. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'amqplib';
import { Redis } from 'ioredis';
import { fileBrokerForTests, openFileBroker } from '../../src/brokers/file/index.js';
import { DEAD_HEADERS, DEAD_QUEUE } from '../../src/brokers/rabbitmq/index.js';
import type { RedisDeadFacts } from '../../src/brokers/redis/dead-letters.js';
import { silentLogger } from '../../src/core/logger.js';
import { openFileResults } from '../../src/results/file/index.js';
import { type ParkedEntry, parkedEntries } from '../../src/testing/broker-conformance.js';
import type { RabbitmqServer } from '../support/rabbitmq-server.js';
import type { RedisServer } from '../support/redis-server.js';
import type { BrokerName, RawMessage } from './cases.js';

export const QUEUE = 'bad-input';

/** How many messages are in which place. */
export interface Places {
  readonly ready: number;
  readonly unacked: number;
  readonly delayed: number;
}

/** One broker with one queue, for one worker. */
export interface Side {
  readonly name: BrokerName;
  readonly brokerUrl: string;
  readonly queue: string;
  put(raw: RawMessage | Buffer): Promise<void>;
  /** Everything parked since the start, from this queue. */
  parked(): Promise<readonly ParkedEntry[]>;
  /** Whether the parked entry is this message, to the byte where the broker keeps bytes. */
  isOf(entry: ParkedEntry, raw: RawMessage | Buffer): boolean;
  places(): Promise<Places>;
  /** The meta of each id, as a sender reads it. */
  results(ids: readonly string[]): Promise<readonly (string | null)[]>;
  close(): Promise<void>;
}

/** Headers as JSON text, with what no object can hold in front. */
function headersText({ headers, headersJson }: RawMessage): string {
  const text = JSON.stringify(headers);
  return headersJson === undefined ? text : `{${headersJson}${text === '{}' ? '' : ','}${text.slice(1)}`;
}

export async function openFileSide(): Promise<Side> {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-bad-input-'));
  const brokerUrl = `file:${join(folder, 'queue.db')}`;
  const options = { url: brokerUrl, logger: silentLogger, role: 'engine' } as const;
  const broker = await openFileBroker(options);
  const store = await openFileResults(options);
  const tools = fileBrokerForTests(broker);
  const head = (raw: RawMessage): string =>
    // 2: the body column holds bytes
    `[2,${JSON.stringify(raw.contentType ?? '')},${JSON.stringify(raw.contentEncoding ?? '')},${headersText(raw)},${JSON.stringify(raw.replyTo === undefined ? {} : { reply_to: raw.replyTo })}]`;
  return {
    name: 'file',
    brokerUrl,
    queue: QUEUE,
    put: (raw) => (Buffer.isBuffer(raw) ? tools.putRaw(QUEUE, raw) : tools.putRaw(QUEUE, raw.body, head(raw))),
    parked: () => parkedEntries(broker),
    isOf: ({ raw: bytes }, raw) => {
      if (Buffer.isBuffer(raw)) return Buffer.compare(bytes, raw) === 0;
      const tail = bytes.subarray(bytes.length - raw.body.length);
      const id = raw.headers['id'];
      return Buffer.compare(tail, raw.body) === 0 && (typeof id !== 'string' || Buffer.from(bytes).includes(JSON.stringify(id)));
    },
    async places() {
      const [depth] = await broker.depth([QUEUE]);
      return { ready: depth?.ready ?? 0, unacked: depth?.unacked ?? 0, delayed: depth?.delayed ?? 0 };
    },
    results: (ids) => store.get(ids),
    async close() {
      await store.close();
      await broker.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

let sides = 0;

export async function openRedisSide(server: RedisServer): Promise<Side> {
  const prefix = `side${++sides}:`;
  const redis = new Redis(server.url, { protocol: 2 });
  let tag = 0;
  const element = (raw: RawMessage): Buffer => {
    const { contentType, contentEncoding, replyTo, envelope } = raw;
    const parts: Record<string, unknown> = {
      body: raw.body.toString('base64'),
      'content-type': contentType,
      'content-encoding': contentEncoding,
      headers: {},
      properties: {
        reply_to: replyTo,
        delivery_mode: 2,
        priority: 0,
        body_encoding: 'base64',
        delivery_tag: `t${(tag += 1)}`,
        delivery_info: { exchange: '', routing_key: QUEUE },
      },
      ...envelope,
    };
    const text = JSON.stringify(parts);
    return Buffer.from(
      envelope && 'headers' in envelope ? text : text.replace('"headers":{}', () => `"headers":${headersText(raw)}`),
    );
  };
  const sent = new Map<RawMessage, Buffer>();
  return {
    name: 'redis',
    brokerUrl: `${server.url}?prefix=${prefix}`,
    queue: QUEUE,
    async put(raw) {
      const bytes = Buffer.isBuffer(raw) ? raw : element(raw);
      if (!Buffer.isBuffer(raw)) sent.set(raw, bytes);
      await redis.lpush(`${prefix}${QUEUE}`, bytes);
    },
    async parked() {
      // in this order: a letter that is parked in between has its element, and is seen the next time
      const facts = await redis.hgetall(`${prefix}lovage:dead:facts`);
      const elements = await redis.hgetallBuffer(`${prefix}lovage:dead`);
      return Object.entries(facts).map(([id, json]) => {
        const { queue, code, reason } = JSON.parse(json) as RedisDeadFacts;
        return { raw: elements[id] ?? Buffer.alloc(0), queue, code, reason };
      });
    },
    isOf: ({ raw: bytes, code }, raw) => {
      if (Buffer.isBuffer(raw)) return Buffer.compare(bytes, raw) === 0;
      // One that waited for somebody who knows its task has been written anew, with the time of the first meeting.
      if (code === 'E_NOT_REGISTERED')
        return (JSON.parse(bytes.toString()) as { headers: { id: string } }).headers.id === raw.headers['id'];
      return Buffer.compare(bytes, sent.get(raw) ?? Buffer.alloc(0)) === 0;
    },
    async places() {
      const lists = await Promise.all(
        [0, 3, 6, 9].map((step) => redis.llen(`${prefix}${QUEUE}${step === 0 ? '' : `\u0006\u0016${step}`}`)),
      );
      const [unacked, index] = [await redis.hlen(`${prefix}unacked`), await redis.zcard(`${prefix}unacked_index`)];
      const delayed = await redis.zcard(`${prefix}lovage:delayed:${QUEUE}`);
      return { ready: lists.reduce((a, b) => a + b, 0), unacked: Math.max(unacked, index), delayed };
    },
    async results(ids) {
      return ids.length === 0 ? [] : redis.mget(ids.map((id) => `${prefix}celery-task-meta-${id}`));
    },
    async close() {
      redis.disconnect();
    },
  };
}

/** Rows of `rabbitmqctl list_queues`. */
interface QueueRow {
  readonly name: string;
  readonly messages_ready: number;
  readonly messages_unacknowledged: number;
}

export async function openRabbitmqSide(server: RabbitmqServer): Promise<Side> {
  const queue = `${QUEUE}-${++sides}`;
  const connection = await connect(server.url);
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue(queue, { durable: true });
  const { queue: replies } = await channel.assertQueue('', { exclusive: true });
  const metas = new Map<string, string>();
  await channel.consume(
    replies,
    (reply) => {
      if (!reply) return;
      const meta = reply.content.toString();
      metas.set((JSON.parse(meta) as { task_id: string }).task_id, meta);
    },
    { noAck: true },
  );
  const dead: ParkedEntry[] = [];
  const before = rows(server);
  const delayed = (all: readonly QueueRow[]): number =>
    all.filter(({ name }) => /delayed/.test(name)).reduce((sum, { messages_ready }) => sum + messages_ready, 0);
  const delayedBefore = delayed(before);
  return {
    name: 'rabbitmq',
    brokerUrl: server.url,
    queue,
    async put(raw) {
      if (Buffer.isBuffer(raw)) channel.sendToQueue(queue, raw);
      else {
        channel.sendToQueue(queue, raw.body, {
          headers: { ...raw.headers, ...raw.amqpHeaders },
          contentType: raw.contentType,
          contentEncoding: raw.contentEncoding,
          replyTo: raw.replyTo ?? replies,
        });
      }
      await channel.waitForConfirms();
    },
    async parked() {
      await channel.assertQueue(DEAD_QUEUE);
      for (
        let next = await channel.get(DEAD_QUEUE, { noAck: true });
        next !== false;
        next = await channel.get(DEAD_QUEUE, { noAck: true })
      ) {
        const {
          [DEAD_HEADERS.queue]: from,
          [DEAD_HEADERS.code]: code,
          [DEAD_HEADERS.reason]: reason,
        } = next.properties.headers as Record<string, string>;
        dead.push({ queue: from ?? '', code: code ?? '', reason: reason ?? '', raw: next.content });
      }
      return dead.filter((entry) => entry.queue === queue);
    },
    isOf: ({ raw: bytes }, raw) => Buffer.compare(bytes, Buffer.isBuffer(raw) ? raw : raw.body) === 0,
    async places() {
      const all = rows(server);
      const own = all.find(({ name }) => name === queue);
      return {
        ready: own?.messages_ready ?? 0,
        unacked: own?.messages_unacknowledged ?? 0,
        delayed: delayed(all) - delayedBefore,
      };
    },
    async results(ids) {
      return ids.map((id) => metas.get(id) ?? null);
    },
    async close() {
      await connection.close();
    },
  };
}

function rows(server: RabbitmqServer): readonly QueueRow[] {
  return JSON.parse(
    server.ctl('list_queues', 'name', 'messages_ready', 'messages_unacknowledged', '--formatter', 'json'),
  ) as QueueRow[];
}
