/** What a script's wrapper needs of a connection. */
import type { RedisArg, RedisReply, RedisScript } from '../../../clients/redis.js';

export interface ScriptRunner {
  run(script: RedisScript, args: RedisArg[]): Promise<RedisReply>;
}
