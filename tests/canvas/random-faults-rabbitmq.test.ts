/** Random workflows under faults on RabbitMQ, with results in Redis; the cases are in random-faults.ts. */
import { startRabbitmq } from '../support/rabbitmq-server.js';
import { startRedis } from '../support/redis-server.js';
import { randomFaultsSuite } from './random-faults.js';

randomFaultsSuite('rabbitmq with redis results', async () => {
  const [server, redis] = await Promise.all([startRabbitmq(), startRedis()]);
  const close = async (): Promise<void> => void (await Promise.all([server.stop(), redis.stop()]));
  return { brokerUrl: server.url, resultUrl: redis.url, close };
});
