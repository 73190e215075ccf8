/**
 * What this wire costs on Redis with nothing of ours in the way: the same bytes, the same commands, no engine. Each
 * figure of `bench/` is quoted beside the one that this gives in the same run.
 */

import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';

/** Pops up to n envelopes and files each in `unacked` as the broker driver does. KEYS: list, unacked, unacked_index. */
const POP = `
local got = redis.call('RPOP', KEYS[1], ARGV[1])
if not got then return got end
local held, index = {}, {}
for i = 1, #got do
  local tag = ARGV[2] .. i
  held[2*i-1] = tag
  held[2*i] = '[' .. got[i] .. ',"","' .. KEYS[1] .. '"]'
  index[2*i-1] = ARGV[3]
  index[2*i] = tag
end
redis.call('HSET', KEYS[2], unpack(held))
redis.call('ZADD', KEYS[3], unpack(index))
return got
`;

const QUEUE = 'limit';

function envelope(): string {
  const id = randomUUID();
  return JSON.stringify({
    body: Buffer.from(JSON.stringify([[1, 2], {}, { callbacks: null, errbacks: null, chain: null, chord: null }])).toString(
      'base64',
    ),
    'content-encoding': 'utf-8',
    'content-type': 'application/json',
    headers: {
      lang: 'js',
      task: 'bench.noop',
      id,
      shadow: null,
      eta: null,
      expires: null,
      group: null,
      group_index: null,
      retries: 0,
      timelimit: [null, null],
      root_id: id,
      parent_id: null,
      argsrepr: '(1, 2)',
      kwargsrepr: '{}',
      origin: 'gen1@bench',
      ignore_result: false,
      replaced_task_nesting: 0,
      stamped_headers: null,
      stamps: {},
    },
    properties: {
      correlation_id: id,
      reply_to: '',
      delivery_mode: 2,
      delivery_info: { exchange: '', routing_key: QUEUE },
      priority: 0,
      body_encoding: 'base64',
      delivery_tag: randomUUID(),
    },
  });
}

async function open(url: string): Promise<Redis> {
  const redis = new Redis(url, { protocol: 2, lazyConnect: true, noDelay: true } as never);
  await redis.connect();
  return redis;
}

/** Envelopes a second into a list: one LPUSH each with `inFlight` at a time, or `inFlight` a command. */
export async function enqueueLimit(url: string, count: number, inFlight: number, bulk: boolean): Promise<number> {
  const redis = await open(url);
  try {
    await redis.del(QUEUE);
    const startedMs = performance.now();
    for (let sent = 0; sent < count; sent += inFlight) {
      const batch = Array.from({ length: Math.min(inFlight, count - sent) }, envelope);
      if (bulk) await redis.lpush(QUEUE, ...batch);
      else await Promise.all(batch.map((one) => redis.lpush(QUEUE, one)));
    }
    return count / ((performance.now() - startedMs) / 1_000);
  } finally {
    await redis.del(QUEUE);
    redis.disconnect();
  }
}

/** Tasks a second: pop script, parse, one SETEX + PUBLISH a result (if wanted), ack in a batch; two batches overlap. */
export async function drainLimit(url: string, count: number, batchSize: number, withResults: boolean): Promise<number> {
  const [broker, results] = await Promise.all([open(url), open(url)]);
  try {
    await broker.del(QUEUE, 'limit:unacked', 'limit:index');
    for (let sent = 0; sent < count; sent += 1_000)
      await broker.lpush(QUEUE, ...Array.from({ length: Math.min(1_000, count - sent) }, envelope));
    let batchNumber = 0;
    const keys: string[] = [];
    const loop = async (): Promise<void> => {
      for (;;) {
        const prefix = `limit:${batchNumber++}:`;
        const got = (await broker.eval(
          POP,
          3,
          QUEUE,
          'limit:unacked',
          'limit:index',
          batchSize,
          prefix,
          Date.now() / 1_000 + 15,
        )) as string[] | null;
        if (!got) return;
        const tags = got.map((_, index) => `${prefix}${index + 1}`);
        const pipeline = results.pipeline();
        for (const raw of got) {
          const message = JSON.parse(raw) as { body: string; headers: { id: string } };
          JSON.parse(Buffer.from(message.body, 'base64').toString());
          if (!withResults) continue;
          const key = `celery-task-meta-${message.headers.id}`;
          keys.push(key);
          const meta = `{"status": "SUCCESS", "result": null, "traceback": null, "children": [], "date_done": "${new Date().toISOString()}", "task_id": "${message.headers.id}"}`;
          pipeline.setex(key, 86_400, meta);
          pipeline.publish(key, meta);
        }
        if (withResults) await pipeline.exec();
        await broker
          .pipeline()
          .zrem('limit:index', ...tags)
          .hdel('limit:unacked', ...tags)
          .exec();
      }
    };
    const startedMs = performance.now();
    await Promise.all([loop(), loop()]);
    const perSecond = count / ((performance.now() - startedMs) / 1_000);
    for (let done = 0; done < keys.length; done += 1_000) await results.unlink(...keys.slice(done, done + 1_000));
    return perSecond;
  } finally {
    broker.disconnect();
    results.disconnect();
  }
}

/** Milliseconds from LPUSH to the return of a BRPOP that waits for it: p50 and p99. */
export async function latencyLimit(url: string, samples: number): Promise<{ readonly p50: number; readonly p99: number }> {
  const [producer, consumer] = await Promise.all([open(url), open(url)]);
  try {
    const taken: number[] = [];
    for (let index = 0; index < samples; index++) {
      const popped = consumer.brpop(QUEUE, 5);
      await new Promise((resolve) => setTimeout(resolve, 5));
      const startedMs = performance.now();
      await producer.lpush(QUEUE, envelope());
      await popped;
      taken.push(performance.now() - startedMs);
    }
    taken.sort((a, b) => a - b);
    return { p50: taken[Math.floor(samples * 0.5)] as number, p99: taken[Math.floor(samples * 0.99)] as number };
  } finally {
    producer.disconnect();
    consumer.disconnect();
  }
}
