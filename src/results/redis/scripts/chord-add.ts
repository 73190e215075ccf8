import { defineScript } from '../../../clients/redis.js';

/**
 * One part more for a chord, once for each id: Celery counts them in .t, and reads that with each report.
 *
 * KEYS  1 .t (parts added later), 2 .a (their ids), 3 .c (closed)
 * ARGV  1 id of the part, 2 how long it is kept (ms)
 */
export const chordAdd = defineScript(`
if redis.call('EXISTS', KEYS[3]) == 1 then return 0 end
if redis.call('SADD', KEYS[2], ARGV[1]) == 1 then redis.call('INCR', KEYS[1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
`);
