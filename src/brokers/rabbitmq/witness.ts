/**
 * Has RabbitMQ write down the quorum queues that it has just made. It answers a declaration before the new queue's name is on its disk:
 * that follows when nothing more has been made for half a second, or at once when another quorum queue is made and deleted. A broker that
 * is killed in between has the name afterwards and nothing behind it: what it had confirmed is lost, and who publishes or consumes waits
 * for ever. So another one is made and deleted. Measured on 3.10: docs/decisions/rabbitmq-young-queues.md.
 */
import { randomUUID } from 'node:crypto';
import { AMQP_FORBIDDEN, amqpCode, type SetupChannel } from '../../clients/amqp-setup.js';
import { sleep } from '../../core/clock.js';
import { declarationError } from './declaration-error.js';

/** Left behind only by who dies between the two. */
const UNUSED_MS = 60_000;
/** For a user that may not make a queue of this name: the half second, and as much again for a broker that is busy. */
const BY_ITSELF_MS = 1_000;

/** Resolves when quorum queues declared before would survive a crash of the broker; rejects as declarations do. */
export async function writtenDown(setup: SetupChannel, timeoutMs: number): Promise<void> {
  const name = `lovage.witness.${randomUUID()}`;
  const how = { durable: true, arguments: { 'x-queue-type': 'quorum', 'x-expires': UNUSED_MS } };
  try {
    await setup.run(timeoutMs, (channel) => channel.assertQueue(name, how));
    await setup.run(timeoutMs, (channel) => channel.deleteQueue(name));
  } catch (error) {
    if (amqpCode(error) !== AMQP_FORBIDDEN) throw declarationError(error, 'queue', name);
    await sleep(BY_ITSELF_MS);
  }
}
