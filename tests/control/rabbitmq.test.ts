/** Remote control over RabbitMQ; the cases are in worker-cases.ts. */
import { startRabbitmq } from '../support/rabbitmq-server.js';
import { startRedis } from '../support/redis-server.js';
import { controlSuite } from './worker-cases.js';

controlSuite('rabbitmq', async () => {
  const [server, redis] = await Promise.all([startRabbitmq(), startRedis()]);
  return {
    brokerUrl: server.url,
    resultUrl: redis.url,
    close: async () => {
      await Promise.all([server.stop(), redis.stop()]);
    },
  };
});
