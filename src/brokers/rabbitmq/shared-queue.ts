/**
 * Making a quorum queue that many processes want at the same moment. RabbitMQ knows its name at once, and the rest half a second later:
 * who subscribes meanwhile loses the connection (541), and after a crash of the broker in that time the name is there with nothing
 * behind it, for ever (both seen on 3.10). So one process makes it, under a lock that goes with its connection, and binds it to an
 * exchange of its name when it has matured; only who finds that exchange uses the queue. What has a name and no exchange is a leftover.
 */
import { AMQP_NOT_FOUND, AMQP_RESOURCE_LOCKED, amqpCode, type SetupChannel } from '../../clients/amqp-setup.js';
import { sleep } from '../../core/clock.js';
import { declarationError } from './declaration-error.js';
import type { QueueDeclaration } from './way-stations.js';
import { writtenDown } from './witness.js';

/** Longer than where a caller waits for a queue of its own: a busy broker writes late, and nobody waits for this one. */
const MATURES_MS = 2_000;
const LOCKED_AGAIN_MS = 250;

/** Resolves when the queue is there and can be used; rejects as declarations do. */
export async function makeOnce(
  setup: SetupChannel,
  { name, arguments: arguments_ }: QueueDeclaration,
  timeoutMs: number,
): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs + MATURES_MS;
  while (!(await isReady(setup, name, timeoutMs))) {
    if (!(await lock(setup, name, timeoutMs))) {
      if (performance.now() > deadlineMs) throw new Error(`somebody has been making ${name} for too long`);
      await sleep(LOCKED_AGAIN_MS);
      continue;
    }
    try {
      if (await isReady(setup, name, timeoutMs)) return;
      await setup.run(timeoutMs, (channel) => channel.deleteQueue(name)); // a leftover; nobody has used it
      await setup.run(timeoutMs, (channel) => channel.assertQueue(name, { durable: true, arguments: arguments_ }));
      await writtenDown(setup, timeoutMs);
      await sleep(MATURES_MS);
      await setup.run(timeoutMs, async (channel) => {
        // it goes with the queue
        await channel.assertExchange(name, 'direct', { durable: true, autoDelete: true });
        await channel.bindQueue(name, name, '');
      });
      return;
    } finally {
      await setup.run(timeoutMs, (channel) => channel.deleteQueue(lockOf(name))).catch(() => undefined);
    }
  }
}

const lockOf = (name: string): string => `lovage.making.${name.slice('lovage.'.length, 'lovage.'.length + 200)}`;

async function isReady(setup: SetupChannel, name: string, timeoutMs: number): Promise<boolean> {
  for (const look of ['checkExchange', 'checkQueue'] as const) {
    try {
      await setup.run(timeoutMs, (channel) => channel[look](name));
    } catch (error) {
      if (amqpCode(error) !== AMQP_NOT_FOUND) throw declarationError(error, look === 'checkQueue' ? 'queue' : 'exchange', name);
      // its maker died between the two
      if (look === 'checkQueue') await setup.run(timeoutMs, (channel) => channel.deleteExchange(name));
      return false;
    }
  }
  return true;
}

async function lock(setup: SetupChannel, name: string, timeoutMs: number): Promise<boolean> {
  try {
    await setup.run(timeoutMs, (channel) => channel.assertQueue(lockOf(name), { exclusive: true, durable: false }));
    return true;
  } catch (error) {
    if (amqpCode(error) === AMQP_RESOURCE_LOCKED) return false;
    throw declarationError(error, 'queue', lockOf(name));
  }
}
