/** What this wire costs on RabbitMQ with nothing of ours in the way: confirmed publishes, and consuming with cumulative acks. */
import { randomUUID } from 'node:crypto';
import { type ChannelModel, type ConfirmChannel, connect, type Options } from 'amqplib';

const QUEUE = 'limit';

function message(): { readonly body: Buffer; readonly options: Options.Publish } {
  const id = randomUUID();
  return {
    body: Buffer.from(JSON.stringify([[1, 2], {}, { callbacks: null, errbacks: null, chain: null, chord: null }])),
    options: {
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      correlationId: id,
      replyTo: '',
      deliveryMode: 2,
      priority: 0,
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
    },
  };
}

async function open(url: string): Promise<{ readonly connection: ChannelModel; readonly channel: ConfirmChannel }> {
  const connection = await connect(url, { noDelay: true });
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue(QUEUE, { durable: true });
  return { connection, channel };
}

async function fill(channel: ConfirmChannel, count: number, inFlight: number): Promise<void> {
  for (let sent = 0; sent < count; sent += inFlight) {
    for (let index = 0; index < inFlight; index++) {
      const { body, options } = message();
      channel.publish('', QUEUE, body, options);
    }
    await channel.waitForConfirms();
  }
}

export async function purge(url: string, queues: readonly string[]): Promise<void> {
  const connection = await connect(url);
  const channel = await connection.createChannel();
  for (const queue of queues) await channel.deleteQueue(queue);
  await connection.close();
}

export async function enqueueLimit(url: string, count: number, inFlight: number, _bulk: boolean): Promise<number> {
  const { connection, channel } = await open(url);
  const startedMs = performance.now();
  await fill(channel, count, inFlight);
  const perSecond = count / ((performance.now() - startedMs) / 1_000);
  await channel.deleteQueue(QUEUE);
  await connection.close();
  return perSecond;
}

/** Results do not pass through RabbitMQ here, so the limit is the same with and without. */
export async function drainLimit(url: string, count: number, batch: number, _withResults: boolean): Promise<number> {
  const { connection, channel } = await open(url);
  await fill(channel, count, 500);
  await channel.prefetch(2 * batch);
  let seen = 0;
  const startedMs = performance.now();
  await new Promise<void>((resolve) => {
    void channel.consume(QUEUE, (got) => {
      if (!got) return;
      JSON.parse(got.content.toString());
      seen += 1;
      if (seen % batch === 0 || seen === count) channel.ack(got, true);
      if (seen === count) resolve();
    });
  });
  const perSecond = count / ((performance.now() - startedMs) / 1_000);
  await channel.deleteQueue(QUEUE);
  await connection.close();
  return perSecond;
}

export async function latencyLimit(url: string, samples: number): Promise<{ readonly p50: number; readonly p99: number }> {
  const { connection, channel } = await open(url);
  const taken: number[] = [];
  let arrived: () => void = () => {};
  await channel.consume(QUEUE, () => arrived(), { noAck: true });
  for (let index = 0; index < samples; index++) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    const { body, options } = message();
    const startedMs = performance.now();
    const got = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    channel.publish('', QUEUE, body, options);
    await got;
    taken.push(performance.now() - startedMs);
  }
  taken.sort((a, b) => a - b);
  await channel.deleteQueue(QUEUE);
  await connection.close();
  return { p50: taken[Math.floor(samples * 0.5)] as number, p99: taken[Math.floor(samples * 0.99)] as number };
}
