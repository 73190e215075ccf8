/** Saved results in Redis, where Celery's `GroupResult.save()` and `restore()` have them: `celery-taskset-meta-<id>`. */
import type { RedisConnection } from '../../clients/redis.js';
import { SAVED_PREFIX, type SavedResult, type SavedResults } from '../saved-results.js';

const PAGE = 1_000;

export class RedisSavedResults implements SavedResults {
  readonly #connection: RedisConnection;
  readonly #prefix: string;
  readonly #untilAnswered: <T>(key: string, step: () => Promise<T>) => Promise<T>;

  /** @param untilAnswered through outages: every step here may be repeated */
  constructor(
    connection: RedisConnection,
    prefix: string,
    untilAnswered: <T>(key: string, step: () => Promise<T>) => Promise<T>,
  ) {
    this.#connection = connection;
    this.#prefix = `${prefix}${SAVED_PREFIX}`;
    this.#untilAnswered = untilAnswered;
  }

  async save(saved: readonly SavedResult[]): Promise<void> {
    await Promise.all(
      saved.map(({ id, text, ttlMs }) => {
        const key = this.#prefix + id;
        const expiry = ttlMs === null ? [] : ['PX', String(Math.max(1, Math.ceil(ttlMs)))];
        return this.#untilAnswered(key, () => this.#connection.call('set', [key, text, ...expiry]));
      }),
    );
  }

  async load(ids: readonly string[]): Promise<readonly (string | null)[]> {
    const texts: (string | null)[] = [];
    for (let from = 0; from < ids.length; from += PAGE) {
      const keys = ids.slice(from, from + PAGE).map((id) => this.#prefix + id);
      const found = await this.#untilAnswered(keys[0] as string, () => this.#connection.call('mget', keys));
      for (const text of found as (Buffer | null)[]) texts.push(text?.toString() ?? null);
    }
    return texts;
  }

  async forget(ids: readonly string[]): Promise<void> {
    for (let from = 0; from < ids.length; from += PAGE) {
      const keys = ids.slice(from, from + PAGE).map((id) => this.#prefix + id);
      await this.#untilAnswered(keys[0] as string, () => this.#connection.call('unlink', keys));
    }
  }
}
