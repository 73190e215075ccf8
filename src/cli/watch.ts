/** What commands that go on until they are stopped have in common: their broker, and being stopped by INT, TERM or a time. */

import type { Broker } from '../brokers/broker.js';
import { openBroker } from '../brokers/from-url.js';
import type { Connection } from './options.js';

/** Aborts at INT or TERM, or after so many milliseconds; `release` takes the handlers away. */
export function untilStopped(forMs: number | null): { readonly signal: AbortSignal; release(): void } {
  const controller = new AbortController();
  const stop = (): void => controller.abort();
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  const timer = forMs === null ? undefined : setTimeout(stop, forMs);
  return {
    signal: controller.signal,
    release() {
      clearTimeout(timer);
      process.off('SIGINT', stop);
      process.off('SIGTERM', stop);
    },
  };
}

/** A broker that is connected, so that what is wrong with it is said at once. The caller closes it. */
export async function connectedBroker({ config, logger, timeoutMs }: Connection): Promise<Broker> {
  const broker = await openBroker({ url: config.brokerUrl, queues: config.queues, logger, role: 'client' });
  try {
    await broker.connect({ timeoutMs });
    return broker;
  } catch (error) {
    await broker.close();
    throw error;
  }
}
