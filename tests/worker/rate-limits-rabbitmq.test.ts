/** Rate limits on RabbitMQ, whose delay store keeps time to a tenth of a second; the cases are in rate-limit-cases.ts. */
import { startRabbitmq } from '../support/rabbitmq-server.js';
import { startRedis } from '../support/redis-server.js';
import { rateLimitSuite } from './rate-limit-cases.js';

rateLimitSuite('rabbitmq', async () => {
  const [server, redis] = await Promise.all([startRabbitmq(), startRedis()]);
  return {
    brokerUrl: server.url,
    resultUrl: redis.url,
    close: async () => {
      await Promise.all([server.stop(), redis.stop()]);
    },
  };
});
