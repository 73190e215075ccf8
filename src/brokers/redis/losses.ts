/**
 * Where the losses of a message are counted: a set, under the message's own id, of the tags under which somebody died with
 * it, and of the tag of its present owner once that has secured it. A set and not a number: its owner takes exactly its own loss
 * back when it turns out to be alive, however often it says so and whoever has died with the message since.
 * `scripts/sweep.ts` adds the first, `scripts/secure.ts` all others; `scripts/requeue.ts` and `scripts/defer.ts` take back.
 *
 * Bounded: each set ends with its message where that had been secured or taken over, or else a day after its last member, and has 100 at
 * most; an empty one is gone.
 */
import { createHash } from 'node:crypto';
import { decodeEnvelope } from '../../wire/redis-envelope.js';
import type { RedisLinks } from './connection.js';
import type { Held } from './held.js';
import type { RedisKeys } from './keys.js';

/** How long the losses of a message are remembered. */
export const LOSS_TTL_MS = 86_400_000;

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

/**
 * These messages are gone for good, and what was counted for them with them. Not waited for: a set that stays expires.
 * By SPOP and not by DEL, which would remove a key of another kind too.
 */
export function forgetLosses(links: RedisLinks, gone: readonly Held[]): void {
  for (const { raw, isSecured, takenOver } of gone)
    if (isSecured || takenOver) links.commands.call('spop', [lossesKey(links.keys, raw), '100']).catch(() => undefined);
}

function deliveryTagOf(raw: Buffer): string {
  try {
    return decodeEnvelope(raw).deliveryTag;
  } catch {
    return '';
  }
}
