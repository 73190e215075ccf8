/** Chords that meet a fault, on RabbitMQ with results in Redis, which is what has the faults; the cases are in chord-faults.ts. */
import { startRabbitmq } from '../support/rabbitmq-server.js';
import { startRedis } from '../support/redis-server.js';
import { chordFaultsSuite } from './chord-faults.js';

chordFaultsSuite('rabbitmq with redis results', async () => {
  const [server, redis] = await Promise.all([startRabbitmq(), startRedis({ durable: true })]);
  return {
    brokerUrl: server.url,
    resultUrl: redis.url,
    block: async () => {
      redis.pause();
      return () => redis.resume();
    },
    deaths: 4,
    blockMs: { quick: 3_000, full: 10_000 },
    restart: async () => {
      await redis.kill9();
      await redis.restart();
    },
    close: async () => void (await Promise.all([server.stop(), redis.stop()])),
  };
});
