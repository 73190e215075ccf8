/** Chains on RabbitMQ, with results in Redis and sent to the caller; the cases are in chain-cases.ts. */
import { startRabbitmq } from '../support/rabbitmq-server.js';
import { startRedis } from '../support/redis-server.js';
import { chainSuite } from './chain-cases.js';

chainSuite('rabbitmq with redis results', async () => {
  const [server, redis] = await Promise.all([startRabbitmq(), startRedis()]);
  return {
    brokerUrl: server.url,
    resultUrl: redis.url,
    close: async () => {
      await Promise.all([server.stop(), redis.stop()]);
    },
  };
});
