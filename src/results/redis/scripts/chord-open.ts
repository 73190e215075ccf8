import { defineScript } from '../../../clients/redis.js';

/**
 * Opens a chord unless it is open (.b says so: .s goes with the first failure) or was closed.
 *
 * KEYS  1 .s (its size, Celery's key), 2 .c (exists once it is closed), 3 lovage:chords (open ones by deadline), 4 .b (its body)
 * ARGV  1 size, 2 body, 3 deadline (wall ms), 4 how long it is kept (ms), 5 id of the header's group
 */
export const chordOpen = defineScript(`
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
if redis.call('EXISTS', KEYS[4]) == 1 then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[4])
redis.call('SET', KEYS[4], ARGV[2], 'PX', ARGV[4])
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[5])
return 1
`);
