/** Chains and chords on RabbitMQ, with results in Redis; the cases are in chain-cases.ts and chord-cases.ts. */
import { chord, createApp, group } from 'lovage';
import { expect, test } from 'vitest';
import { startRabbitmq } from '../support/rabbitmq-server.js';
import { startRedis } from '../support/redis-server.js';
import { type CanvasBroker, chainSuite, silent } from './chain-cases.js';
import { chordSuite } from './chord-cases.js';

async function rabbitmq(): Promise<CanvasBroker> {
  const [server, redis] = await Promise.all([startRabbitmq(), startRedis()]);
  return {
    brokerUrl: server.url,
    resultUrl: redis.url,
    close: async () => {
      await Promise.all([server.stop(), redis.stop()]);
    },
  };
}

chainSuite('rabbitmq with redis results', rabbitmq);
chordSuite('rabbitmq with redis results', rabbitmq);

test('a chord whose results reach their sender only is refused at send(), and none of its parts is sent', {
  timeout: 90_000,
}, async () => {
  const server = await startRabbitmq();
  const app = createApp({ broker: server.url, results: `rpc:${server.url}`, logger: silent });
  const ran: number[] = [];
  const add = app.fn('add', (x: number, y: number) => {
    ran.push(x);
    return x + y;
  });
  const sum = app.fn('sum', (numbers: number[]) => numbers.length);
  const worker = await app.worker({ pool: 'inline', logger: silent, grace: '1s' });
  try {
    const refused = chord(group(add.si(1, 1), add.si(2, 2)), sum.s()).send();
    await expect(refused).rejects.toMatchObject({ code: 'E_CHORD_NEEDS_STORE', message: /use results: redis/ });
    // behind whatever else was sent
    expect(await (await add.send(3, 3)).result({ timeout: '20s' })).toBe(6);
    expect(ran).toEqual([3]);
  } finally {
    await worker.close();
    await app.close();
    await server.stop();
  }
});

test('a chord whose part waits for an hour and is revoked ends at its deadline, because nothing can be taken out there', {
  timeout: 90_000,
}, async () => {
  const broker = await rabbitmq();
  const app = createApp({
    ...{ broker: broker.brokerUrl, results: broker.resultUrl, logger: silent, sendTimeout: '30s' },
    ...{ defaultQueue: 'revoked', resultTtl: '5s' },
  });
  const add = app.fn('add', (x: number, y: number) => x + y);
  const sum = app.fn('sum', (numbers: number[]) => numbers.length);
  const worker = await app.worker({ pool: 'inline', logger: silent });
  try {
    const waits = add.with({ id: 'waits-for-an-hour', countdown: '1h' }).si(1, 1);
    const handle = await chord(group([add.si(1, 1), waits]), sum.s()).send();
    expect(await app.handle('waits-for-an-hour').revoke()).not.toBe('removed');
    await expect(handle.result({ timeout: '60s' })).rejects.toMatchObject({
      type: 'ChordError',
      message: expect.stringContaining('deadline'),
    });
  } finally {
    await worker.close();
    await app.close();
    await broker.close();
  }
});
