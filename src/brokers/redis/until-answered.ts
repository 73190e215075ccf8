/** Steps of an operator's long work (dead letters, waiting messages) over a connection that may break between and in them. */
import { RedisLinkError } from '../../clients/redis.js';
import type { RedisLinks } from './connection.js';

/** Runs a step until the server has answered it. Every step may be repeated: it must find done what it had done before. */
export type UntilAnswered = <T>(timeoutMs: number, step: (isRepeat: boolean) => Promise<T>) => Promise<T>;

/** @param assertOpen throws once the broker was closed */
export function answeredBy({ commands }: RedisLinks, assertOpen: () => void): UntilAnswered {
  return async (timeoutMs, step) => {
    assertOpen();
    const deadlineMs = performance.now() + timeoutMs;
    for (let isRepeat = false; ; isRepeat = true) {
      await commands.whenReady(Math.max(0, deadlineMs - performance.now()));
      try {
        return await step(isRepeat);
      } catch (error) {
        if (!(error instanceof RedisLinkError) || performance.now() >= deadlineMs) throw error;
      }
    }
  };
}
