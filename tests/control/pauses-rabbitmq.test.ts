/** Pauses on RabbitMQ, which keeps them in a queue; the cases are in pause-cases.ts. */
import { startRabbitmq } from '../support/rabbitmq-server.js';
import { pauseSuite } from './pause-cases.js';

pauseSuite('RabbitMQ', async () => {
  const rabbitmq = await startRabbitmq();
  return { brokerUrl: rabbitmq.url, resultUrl: `rpc:${rabbitmq.url}`, close: () => rabbitmq.stop() };
});
