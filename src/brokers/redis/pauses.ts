/** The pauses of Redis: one hash, `lovage:pauses`, without expiry because only people end a pause. Bounded by `MOST_PAUSES`. */
import { defineScript } from '../../clients/redis.js';
import { MOST_PAUSES, type Pauses, pauseKey, pauseOf, sortPauses, tooManyPauses } from '../pauses.js';
import type { RedisLinks } from './connection.js';

/** For people, who wait for it, and for a worker's start, which tries again. */
const ASK_MS = 5_000;

/**
 * KEYS 1 lovage:pauses · ARGV 1 most fields, then for each pause: field, since when (ms)
 * Reply for each 1 (added) or 0 (was there); a bare 0: no room, nothing was done
 */
const addScript = defineScript(`
local more, reply = 0, {}
for i = 2, #ARGV, 2 do
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 0 then more = more + 1 end
end
if redis.call('HLEN', KEYS[1]) + more > tonumber(ARGV[1]) then return 0 end
for i = 2, #ARGV, 2 do reply[#reply + 1] = redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 1]) end
return reply
`);

/** @param assertOpen throws once the broker was closed */
export function redisPauses({ commands, keys }: RedisLinks, assertOpen: () => void): Pauses {
  const key = `${keys.prefix}lovage:pauses`;
  const reach = async (): Promise<void> => {
    assertOpen();
    await commands.whenReady(ASK_MS);
  };
  return {
    async list() {
      await reach();
      const names = ((await commands.call('hkeys', [key])) as Buffer[]).map(String);
      if (names.length === 0) return [];
      const since = (await commands.call('hmget', [key, ...names])) as (Buffer | null)[];
      // one that was removed between the two questions is paused no longer
      const pauses = names.map((name, index) => (since[index] ? pauseOf(name, String(since[index])) : null));
      return sortPauses(pauses.filter((pause) => pause !== null));
    },
    async add(pauses) {
      await reach();
      const fields = pauses.flatMap((pause) => [pauseKey(pause), String(pause.sinceMs)]);
      const added = await commands.run(addScript, [addScript.sha, '1', key, String(MOST_PAUSES), ...fields]);
      if (!Array.isArray(added)) throw tooManyPauses();
      return added.map((flag) => flag === 1);
    },
    async remove(names) {
      await reach();
      const removed = await Promise.all(names.map((name) => commands.call('hdel', [key, pauseKey(name)])));
      return removed.map((count) => count === 1);
    },
  };
}
