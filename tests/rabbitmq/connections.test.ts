/** The RabbitMQ driver when connections, channels or the broker itself misbehave. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Broker } from '../../src/brokers/broker.js';
import { openRabbitmqBroker } from '../../src/brokers/rabbitmq/index.js';
import { silentLogger } from '../../src/core/logger.js';
import { outgoing, sendIds, uniqueQueue } from '../../src/testing/conformance/broker-kit.js';
import { missingRabbitmq, type RabbitmqServer, startRabbitmq } from '../support/rabbitmq-server.js';
import { type CuttableProxy, openCuttableProxy } from './cuttable-proxy.js';

const missing = missingRabbitmq();
if (missing && process.env['CI'] === 'true') throw new Error(missing);

describe.skipIf(missing !== null)(`RabbitMQ connections${missing ? ` [skipped: ${missing}]` : ''}`, () => {
  let server: RabbitmqServer;
  let proxy: CuttableProxy;
  let broker: Broker;
  const brokers: Broker[] = [];
  const proxies: CuttableProxy[] = [];

  const open = async (query = ''): Promise<{ broker: Broker; proxy: CuttableProxy }> => {
    const cuttable = await openCuttableProxy(server.port);
    proxies.push(cuttable);
    const opened = await openRabbitmqBroker({ url: `amqp://guest:guest@127.0.0.1:${cuttable.port}/${query}`, logger: silentLogger, role: 'engine' });
    brokers.push(opened);
    return { broker: opened, proxy: cuttable };
  };

  beforeAll(async () => {
    server = await startRabbitmq();
  });
  afterAll(() => server?.stop());
  afterEach(async () => {
    await Promise.all(brokers.splice(0).map((each) => each.close()));
    await Promise.all(proxies.splice(0).map((each) => each.close()));
  });

  test('a declaration that gets no answer fails at the deadline as not sent, and the next one works', async () => {
    ({ broker, proxy } = await open());
    await broker.connect({ timeoutMs: 5_000 });
    await sendIds(broker, uniqueQueue('warm'), ['x']);
    proxy.silence(true);
    const [result] = await broker.publish([outgoing(uniqueQueue('new'), 'x')], { timeoutMs: 300 });
    expect(result).toMatchObject({ code: 'E_PUBLISH_TIMEOUT', outcome: 'not-sent' });
    proxy.silence(false);
    await sendIds(broker, uniqueQueue('after'), ['x']);
  });
});
