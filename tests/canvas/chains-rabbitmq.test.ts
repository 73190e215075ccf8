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
