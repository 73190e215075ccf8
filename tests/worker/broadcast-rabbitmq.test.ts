/** Broadcast queues on RabbitMQ; the cases are in broadcast-cases.ts. */
import { startRabbitmq } from '../support/rabbitmq-server.js';
import { broadcastSuite } from './broadcast-cases.js';

broadcastSuite('RabbitMQ', async () => {
  const node = await startRabbitmq();
  return { brokerUrl: node.url, resultUrl: `rpc:${node.url}`, close: () => node.stop() };
});
