/** The revocations of Redis: records under `lovage:revoked`, and what waits in the delay store by `lovage:delayed-tasks`. */
import { RedisLinkError } from '../../clients/redis.js';
import { redisTimedSet } from '../../clients/redis-timed-set.js';
import { MOST_REVOCATIONS } from '../../core/timed-set.js';
import type { WireMessage } from '../../wire/message.js';
import { decodeEnvelope } from '../../wire/redis-envelope.js';
import { REVOKE_STEP, type Revocations } from '../revocations.js';
import type { RedisLinks } from './connection.js';
import { withdraw } from './scripts/withdraw.js';

/** For people and tasks that wait for it. */
const REACH_MS = 5_000;

/** @param assertOpen throws once the broker was closed */
export function redisRevocations({ commands, keys }: RedisLinks, assertOpen: () => void): Revocations {
  return {
    records: redisTimedSet({
      ...{ connection: commands, keys: { set: keys.revoked, version: keys.revokedVersion } },
      ...{ most: MOST_REVOCATIONS, timeoutMs: REACH_MS, assertOpen },
    }),
    async withdraw(ids) {
      assertOpen();
      const withdrawn = new Map<string, WireMessage>();
      for (let from = 0; from < ids.length; ) {
        const part = ids.slice(from, from + REVOKE_STEP);
        await commands.whenReady(REACH_MS);
        try {
          for (const { at, raw } of await withdraw(commands, keys, part))
            withdrawn.set(part[at] as string, decodeEnvelope(raw).message);
          from += part.length;
        } catch (error) {
          // Of what a lost answer had taken out nothing is known; it is recorded then, which is as good.
          if (!(error instanceof RedisLinkError)) throw error;
        }
      }
      return withdrawn;
    },
  };
}
