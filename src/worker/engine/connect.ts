/** Opens the broker and the result store of a worker, and keeps trying while they cannot be reached. */
import type { Broker } from '../../brokers/broker.js';
import { openBroker } from '../../brokers/from-url.js';
import type { QueueTable } from '../../brokers/queue-table.js';
import { reconnectDelayMs } from '../../core/backoff.js';
import { sleep } from '../../core/clock.js';
import { codeOf, toError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { openResultStore } from '../../results/from-url.js';
import type { ResultStore } from '../../results/result-store.js';

export interface ConnectOptions {
  readonly brokerUrl: string;
  readonly resultUrl: string;
  readonly queues: QueueTable;
  readonly timeoutMs: number;
  /** `null`: for ever, with backoff. */
  readonly tries: number | null;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

export interface Connections {
  readonly broker: Broker;
  readonly store: ResultStore;
}

/** @throws BrokerError `E_BROKER_UNREACHABLE` after the last try, `E_BROKER_AUTH` at once; ConfigError for a bad URL */
export async function openConnections(options: ConnectOptions): Promise<Connections> {
  const { logger, timeoutMs } = options;
  const broker = await openBroker({ url: options.brokerUrl, queues: options.queues, logger, role: 'engine' });
  try {
    const store = await openResultStore({ url: options.resultUrl, logger, role: 'engine' });
    try {
      await patiently('broker', () => broker.connect({ timeoutMs }), options);
      await patiently('result store', () => store.connect({ timeoutMs }), options);
      return { broker, store };
    } catch (error) {
      await store.close();
      throw error;
    }
  } catch (error) {
    await broker.close();
    throw error;
  }
}

/** Tries again while nobody can be reached, with backoff. @throws what the last try ended with, at once what time does not mend */
export async function patiently(
  what: string,
  connect: () => Promise<void>,
  options: Pick<ConnectOptions, 'tries' | 'logger' | 'signal'>,
): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await connect();
      return;
    } catch (error) {
      const code = codeOf(error);
      const worthTrying = code === 'E_BROKER_UNREACHABLE' || code === 'E_CONNECTION_LOST';
      if (!worthTrying || options.signal.aborted || (options.tries !== null && tries >= options.tries)) throw error;
      options.logger.warn({ tries, error: toError(error).message }, `the ${what} cannot be reached; trying again`);
      await sleep(reconnectDelayMs(tries, Math.random()), options.signal);
    }
  }
}
