/**
 * A process that takes one delivery and holds it until it is killed. It writes a line for the delivery, one for each claim, and one
 * when a task could be started, so that the test knows when to kill. Arguments: broker URL, queue, lease in milliseconds.
 */
import type { Arrival } from '../../src/brokers/broker.js';
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
let taken: (arrival: Arrival | undefined) => void = () => undefined;
const first = new Promise<Arrival | undefined>((resolve) => (taken = resolve));
const consumer = await broker.consume({
  queues: [{ name: queue, credit: 1 }],
  credit: 1,
  leaseMs: Number(leaseMs),
  consumerName: 'holder@host',
  logger,
  onArrivals: (arrivals) => {
    console.log(`took ${arrivals.length}`);
    taken(arrivals[0]);
  },
  ...{ onLost: quiet, onState: quiet },
});
const arrival = await first;
if (arrival?.kind === 'delivery') {
  // As the engine does: nothing is known about a first delivery, so nothing is done for it.
  if (arrival.redelivered) await consumer.secure?.(arrival);
  console.log(`started after ${arrival.losses} losses`);
}
