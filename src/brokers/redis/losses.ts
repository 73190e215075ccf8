/**
 * Where the losses of a message are counted: a set, under the message's own id, of the tags under which somebody died with
 * it. A set and not a number: its owner takes exactly its own loss back when it turns out to be alive, however often it
 * says so and whoever has died with the message since. `scripts/sweep.ts` adds, `scripts/requeue.ts` takes back.
 *
 * Bounded: each set expires a day after its last member and has 100 at most; an empty one is gone.
 */
import { createHash } from 'node:crypto';
import { decodeEnvelope } from '../../wire/redis-envelope.js';
import type { RedisLinks } from './connection.js';
import type { RedisKeys } from './keys.js';

/** The key for these bytes as they lie in `unacked`; named as `messageId` of the sweep's script names it. */
export function lossesKey(keys: RedisKeys, raw: Buffer): string {
  return keys.losses + (deliveryTagOf(raw) || createHash('sha1').update(raw).digest('hex'));
}

/** For each key how many workers died with its message; unknown is told as none: isolation is lost, not the message. */
export async function countLosses(links: RedisLinks, keys: readonly string[]): Promise<number[]> {
  return Promise.all(
    keys.map((key) =>
      links.commands.call('scard', [key]).then(
        (count) => count as number,
        () => 0,
      ),
    ),
  );
}

function deliveryTagOf(raw: Buffer): string {
  try {
    return decodeEnvelope(raw).deliveryTag;
  } catch {
    return '';
  }
}
