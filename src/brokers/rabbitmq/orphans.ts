/**
 * Finds the queue of orphans of a queue, and has the session take from it: what came back from claims, which else would have to wait
 * behind the whole queue. Beside the start of the consumer, which needs none of this. Why: docs/decisions/rabbitmq-claims.md.
 */
import { retryDelayMs } from '../../clients/amqp.js';
import { sleep } from '../../core/clock.js';
import { codeOf, toError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { Session } from './session.js';
import type { Topology } from './topology.js';

const DECLARE_MS = 10_000;

export interface OrphanOptions {
  readonly session: Session;
  readonly topology: Topology;
  readonly logger: Logger;
  /** It had been there and is not any more. */
  readonly isDeleted?: boolean;
}

/** Resolves when they are taken, or nothing can be done about it: then claims are not possible either, and that is told there. */
export async function takeOrphans(queue: string, { session, topology, logger, isDeleted }: OrphanOptions): Promise<void> {
  if (isDeleted) topology.forget(); // or it would be taken for declared
  for (let tries = 0; session.open; tries += 1) {
    try {
      const orphans = await topology.orphans(queue, DECLARE_MS);
      if (session.open) await session.takeOrphans(queue, orphans);
      return;
    } catch (error) {
      if (!session.open || codeOf(error) === 'E_BROKER_AUTH') return;
      logger.warn({ queue, error: toError(error).message }, 'the queue of what comes back could not be made, trying again');
      topology.forget();
      await sleep(retryDelayMs(tries));
    }
  }
}
