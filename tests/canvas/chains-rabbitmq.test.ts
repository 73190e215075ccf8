/** Chains and chords on RabbitMQ, with results in Redis; the cases are in chain-cases.ts and chord-cases.ts. */
import { startRabbitmq } from '../support/rabbitmq-server.js';
import { startRedis } from '../support/redis-server.js';
import { type CanvasBroker, chainSuite } from './chain-cases.js';
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
