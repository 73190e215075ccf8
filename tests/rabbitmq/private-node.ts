/** One private RabbitMQ node for a test file, and brokers on it behind proxies that can be cut; all closed after each test. */
import { type Channel, connect } from 'amqplib';
import { afterAll, afterEach, beforeAll, describe } from 'vitest';
import type { Broker } from '../../src/brokers/broker.js';
import { openRabbitmqBroker } from '../../src/brokers/rabbitmq/index.js';
import type { Logger } from '../../src/core/logger.js';
import { silentLogger } from '../../src/core/logger.js';
import { missingRabbitmq, type RabbitmqServer, type RabbitmqServerOptions, startRabbitmq } from '../support/rabbitmq-server.js';
import { type CuttableProxy, openCuttableProxy } from './cuttable-proxy.js';

const missing = missingRabbitmq();
if (missing && process.env['CI'] === 'true') throw new Error(missing);

export interface PrivateNode {
  readonly server: RabbitmqServer;
  /** `query` with its `?`. */
  open(query?: string, logger?: Logger): Promise<{ readonly broker: Broker; readonly proxy: CuttableProxy }>;
  /** Works with the bare client on a channel of its own. */
  raw<T>(work: (channel: Channel) => Promise<T>): Promise<T>;
}

/** Registers the tests under `title`, or one named skip where RabbitMQ is not installed. */
export function onPrivateNode(title: string, tests: (node: PrivateNode) => void, options: RabbitmqServerOptions = {}): void {
  describe.skipIf(missing !== null)(missing ? `${title} [skipped: ${missing}]` : title, () => {
    let server: RabbitmqServer | undefined;
    const closing: (() => Promise<void>)[] = [];
    beforeAll(async () => {
      server = await startRabbitmq(options);
    });
    afterEach(async () => {
      for (const close of closing.splice(0)) await close();
    });
    afterAll(() => server?.stop());
    tests({
      get server() {
        if (!server) throw new Error('the node is not up');
        return server;
      },
      async open(query = '', logger = silentLogger) {
        const proxy = await openCuttableProxy(this.server.port);
        const broker = await openRabbitmqBroker({
          url: `amqp://guest:guest@127.0.0.1:${proxy.port}/${query}`,
          logger,
          role: 'engine',
        });
        closing.push(async () => {
          await broker.close();
          await proxy.close();
        });
        return { broker, proxy };
      },
      async raw(work) {
        const connection = await connect(this.server.url);
        try {
          const channel = await connection.createChannel();
          channel.on('error', () => undefined); // the call that it answers rejects
          return await work(channel);
        } finally {
          await connection.close();
        }
      },
    });
  });
}
