import { defineScript } from '../../../clients/redis.js';

/**
 * Gives a chord that Python opened a body and a deadline, once: Python notes neither.
 *
 * KEYS  1 .s (its size: it is open), 2 lovage:chords (open ones by deadline), 3 .b (its body)
 * ARGV  1 body, 2 deadline (wall ms), 3 how long it is kept (ms), 4 id of the header's group
 */
export const chordAdopt = defineScript(`
if redis.call('EXISTS', KEYS[1]) == 0 or redis.call('EXISTS', KEYS[3]) == 1 then return 0 end
redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[3])
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[4])
return 1
`);
