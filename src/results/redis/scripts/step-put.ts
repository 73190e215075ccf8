import { defineScript } from '../../../clients/redis.js';

/**
 * Stores what a step gave, unless it is stored already.
 *
 * KEYS  1 lovage:steps:<id> (what each step gave, by name), 2 lovage:epoch:<id>
 * ARGV  1 name, 2 what it gave (JSON), 3 epoch of the run, 4 how long the steps are kept (ms), 5 most steps of a task
 * Reply 1 stored, 0 fenced, -1 full, or what stands there
 */
export const stepPut = defineScript(`
local claimed = redis.call('HGET', KEYS[2], 'epoch')
if claimed and tonumber(ARGV[3]) < tonumber(claimed) then return 0 end
local present = redis.call('HGET', KEYS[1], ARGV[1])
if present then return present end
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[5]) then return -1 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
`);
