/** Steps in Redis: a hash for each task that has some, `lovage:steps:<id>`, which expires as a whole. */
import type { RedisConnection } from '../../clients/redis.js';
import { MOST_STEPS, type StepAnswer, type StepStore, type StepWrite } from '../steps.js';
import { stepPut } from './scripts/step-put.js';

const FORGET_PAGE = 1_000;

export class RedisSteps implements StepStore {
  readonly #connection: RedisConnection;
  readonly #steps: string;
  readonly #epochs: string;
  readonly #untilAnswered: <T>(key: string, step: () => Promise<T>) => Promise<T>;

  /** @param untilAnswered through outages: every step here may be repeated */
  constructor(
    connection: RedisConnection,
    prefix: string,
    untilAnswered: <T>(key: string, step: () => Promise<T>) => Promise<T>,
  ) {
    this.#connection = connection;
    this.#steps = `${prefix}lovage:steps:`;
    this.#epochs = `${prefix}lovage:epoch:`;
    this.#untilAnswered = untilAnswered;
  }

  async get(taskId: string, name: string): Promise<string | null> {
    const key = this.#steps + taskId;
    const found = (await this.#untilAnswered(key, () => this.#connection.call('hget', [key, name]))) as Buffer | null;
    return found === null ? null : found.toString();
  }

  async put({ taskId, name, resultJson, epoch, ttlMs }: StepWrite): Promise<StepAnswer> {
    const key = this.#steps + taskId;
    const args = [name, resultJson, String(epoch), String(Math.ceil(ttlMs)), String(MOST_STEPS)];
    const reply = await this.#untilAnswered(key, () =>
      this.#connection.run(stepPut, [stepPut.sha, '2', key, this.#epochs + taskId, ...args]),
    );
    if (reply === 1) return { kind: 'stored' };
    if (reply === 0) return { kind: 'fenced' };
    return reply === -1 ? { kind: 'full' } : { kind: 'present', resultJson: String(reply) };
  }

  async forget(taskIds: readonly string[]): Promise<void> {
    for (let from = 0; from < taskIds.length; from += FORGET_PAGE) {
      const keys = taskIds.slice(from, from + FORGET_PAGE).map((id) => this.#steps + id);
      await this.#untilAnswered(this.#steps, () => this.#connection.call('unlink', keys));
    }
  }
}
