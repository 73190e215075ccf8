/**
 * A subscription that the broker ended (its queue was deleted, or moved): the others on the channel go on, and this one is made again,
 * for as long as the session lives. Called by `consumer.ts`.
 */
import { retryDelayMs } from '../../clients/amqp.js';
import { sleep } from '../../core/clock.js';
import { toError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { Session } from './session.js';
import type { Topology } from './topology.js';

const DECLARE_MS = 10_000;

export interface SubscribeAgainOptions {
  readonly session: Session;
  readonly topology: Topology;
  readonly logger: Logger;
  readonly prefetch: number;
  /** False once nothing more is wanted. */
  readonly wanted: () => boolean;
}

/** Resolves when the subscription stands or is not wanted any more. */
export async function subscribeAgain(queue: string, options: SubscribeAgainOptions): Promise<void> {
  const { session, topology, logger, prefetch, wanted } = options;
  const missing = (): boolean => session.open && wanted() && !session.subscribed(queue);
  logger.warn({ queue }, 'the broker ended the subscription (was the queue deleted?), making it again');
  for (let tries = 0; ; tries += 1) {
    await sleep(retryDelayMs(tries));
    if (!missing()) return;
    try {
      topology.forget();
      await topology.consumed(queue, DECLARE_MS);
      if (missing()) await session.subscribe(queue, prefetch);
      return;
    } catch (error) {
      logger.warn({ queue, error: toError(error).message }, 'making the subscription failed');
    }
  }
}
