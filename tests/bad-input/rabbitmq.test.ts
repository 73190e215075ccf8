/** Bad input on RabbitMQ, published by the plain client. */
import { afterAll, beforeAll, describe } from 'vitest';
import { missingRabbitmq, type RabbitmqServer, startRabbitmq } from '../support/rabbitmq-server.js';
import { badInputSuite } from './run.js';
import { openRabbitmqSide } from './side.js';

const missing = missingRabbitmq();
if (missing && process.env['CI'] === 'true') throw new Error(missing);

describe.skipIf(missing !== null)(missing === null ? 'on a private node' : `not run: ${missing}`, () => {
  let server: RabbitmqServer;
  beforeAll(async () => {
    server = await startRabbitmq();
  });
  afterAll(() => server?.stop());
  badInputSuite(() => openRabbitmqSide(server), 'rabbitmq');
});
