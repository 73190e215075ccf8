/** Fifty nodes that answer remote control, each with a connection of its own as fifty workers would have: their mailboxes, without the rest. */
import type { Broker } from '../../src/brokers/broker.js';
import { openBroker } from '../../src/brokers/from-url.js';
import { LamportClock } from '../../src/control/lamport-clock.js';
import { Mailbox } from '../../src/control/mailbox.js';
import type { WorkerPort } from '../../src/control/worker-port.js';
import { silentLogger } from '../../src/core/logger.js';

export interface Crowd {
  readonly names: readonly string[];
  close(): Promise<void>;
}

/** @param urlOf the URL of each node */
export async function gather(count: number, urlOf: (index: number) => string): Promise<Crowd> {
  const brokers: Broker[] = [];
  const mailboxes: Mailbox[] = [];
  const names = Array.from({ length: count }, (_, index) => `node${String(index).padStart(2, '0')}@crowd`);
  await Promise.all(
    names.map(async (nodeName, index) => {
      const broker = await openBroker({ url: urlOf(index), logger: silentLogger, role: 'engine' });
      brokers.push(broker);
      await broker.connect({ timeoutMs: 20_000 });
      // What ping and registered ask of a worker.
      const port = { nodeName, tasks: () => [], custom: { has: () => false } } as unknown as WorkerPort;
      const mailbox = new Mailbox({ broker, port, clock: new LamportClock(), logger: silentLogger });
      mailboxes.push(mailbox);
      await mailbox.open();
    }),
  );
  return {
    names,
    async close() {
      await Promise.all(mailboxes.map((mailbox) => mailbox.close()));
      await Promise.all(brokers.map((broker) => broker.close()));
    },
  };
}
