/**
 * A process that takes one delivery and holds it until it is killed. It writes a line for the delivery and one for each claim, so
 * that the test knows when to kill. Arguments: broker URL, queue, lease in milliseconds.
 */
import { openRabbitmqBroker } from '../../src/brokers/rabbitmq/index.js';
import type { Logger } from '../../src/core/logger.js';

const [url, queue, leaseMs] = process.argv.slice(2) as [string, string, string];
const quiet = (): void => undefined;
const logger: Logger = {
  debug: (_, message) => message?.endsWith('was claimed') && console.log('claimed'),
  ...{ info: quiet, warn: quiet, error: quiet },
  child: () => logger,
};
const broker = await openRabbitmqBroker({ url, logger, role: 'engine' });
await broker.consume({
  queues: [{ name: queue, credit: 1 }],
  credit: 1,
  leaseMs: Number(leaseMs),
  consumerName: 'holder@host',
  logger,
  onArrivals: (arrivals) => console.log(`took ${arrivals.length}`),
  ...{ onLost: quiet, onState: quiet },
});
