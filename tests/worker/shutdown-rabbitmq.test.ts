/** A stop on RabbitMQ, whose silence is a network that swallows everything; the cases are in shutdown-cases.ts. */
import { startFaultProxy } from '../support/fault-proxy.js';
import { startRabbitmq } from '../support/rabbitmq-server.js';
import { startRedis } from '../support/redis-server.js';
import { shutdownSuite } from './shutdown-cases.js';

shutdownSuite('rabbitmq', true, async () => {
  const [server, redis] = await Promise.all([startRabbitmq(), startRedis()]);
  const proxy = await startFaultProxy({ target: { host: '127.0.0.1', port: server.port } });
  return {
    brokerUrl: () => proxy.url(server.url),
    resultUrl: () => redis.url,
    // A broker that forgets the connection gives the task to others while the worker knows nothing; black holes are what it cannot tell from a slow one.
    outage: { begin: async () => proxy.blackHole(), end: async () => proxy.pass() },
    close: async () => {
      await proxy.close();
      await Promise.all([server.stop(), redis.stop()]);
    },
  };
});
