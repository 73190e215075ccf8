/**
 * Finds the queue of orphans of a queue, and has the session take from it: what came back from claims, which else would have to wait
 * behind the whole queue. Beside the start of the consumer, which needs none of this. Why: docs/decisions/rabbitmq-claims.md.
 */
import { type AmqpLink, retryDelayMs } from '../../clients/amqp.js';
import { within } from '../../clients/within.js';
import { sleep } from '../../core/clock.js';
import { codeOf, toError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { Session } from './session.js';
import type { Topology } from './topology.js';

const DECLARE_MS = 10_000;
/** A subscription that is not answered blocks the whole channel, with all acknowledgements behind it. */
const ANSWER_MS = 5_000;
/** Each costs the connection, and what is running on it its ack. */
const MOST_SILENCES = 3;

export interface OrphanOptions {
  readonly session: Session;
  readonly topology: Topology;
  readonly link: Pick<AmqpLink, 'abandon'>;
  readonly logger: Logger;
  /** It had been there and is not any more. */
  readonly isDeleted?: boolean;
}

/** Resolves when they are taken, or nothing can be done about it: then claims are not possible either, and that is told there. */
export async function takeOrphans(queue: string, { session, topology, link, logger, isDeleted }: OrphanOptions): Promise<void> {
  if (isDeleted) topology.forget(); // or it would be taken for declared
  for (let tries = 0; session.open; tries += 1) {
    try {
      const orphans = await topology.orphans(queue, DECLARE_MS);
      if (!session.open) return;
      const silent = topology.silences.get(queue) ?? 0;
      if (silent >= MOST_SILENCES) {
        // the next connection, whatever it is made for, asks once more
        topology.silences.set(queue, silent - 1);
        const remedy = `see with "rabbitmq-queues quorum_status ${orphans}" whether its nodes are up; deleting it loses the tasks in it`;
        return logger.error({ queue: orphans, remedy }, 'the queue of what comes back does not answer; going on without it');
      }
      let refusal: unknown;
      const taken = session.takeOrphans(queue, orphans).then(
        () => 'taken' as const,
        (error: unknown) => {
          refusal = error;
          return 'refused' as const;
        },
      );
      const answer = await within(taken, ANSWER_MS);
      if (answer === 'taken') return void topology.silences.delete(queue);
      if (answer === 'refused') throw refusal;
      logger.error({ queue: orphans }, 'the queue of what comes back does not answer; the connection is made anew');
      topology.silences.set(queue, silent + 1);
      // Not the queue: what lies in it may be all there is of a task. The channel would not even be closed: nobody reads it.
      return link.abandon(new Error(`${orphans} does not answer`));
    } catch (error) {
      if (!session.open || codeOf(error) === 'E_BROKER_AUTH') return;
      logger.warn({ queue, error: toError(error).message }, 'the queue of what comes back could not be made, trying again');
      topology.forget();
      await sleep(retryDelayMs(tries));
    }
  }
}
