/** Revoking on RabbitMQ: with results on Redis, where the records lie, and with `rpc:`, which has no place for them. */
import { startRabbitmq } from '../support/rabbitmq-server.js';
import { startRedis } from '../support/redis-server.js';
import { revokeSuite } from './revoke-cases.js';

revokeSuite('RabbitMQ with results on Redis', async () => {
  const [rabbitmq, redis] = await Promise.all([startRabbitmq(), startRedis()]);
  return {
    ...{ brokerUrl: rabbitmq.url, resultUrl: redis.url, withdraws: false, records: true },
    close: async () => void (await Promise.all([rabbitmq.stop(), redis.stop()])),
  };
});
