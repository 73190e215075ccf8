/** The `_kombu.binding.<exchange>` sets that Celery keeps: each name is checked and written once a connection. */
import type { RedisLinks } from './connection.js';
import { checkQueueName, queueBinding } from './keys.js';

/** Names remembered; beyond it all are forgotten and written again as they come. */
const BOUND_NAMES = 10_000;

export class RedisBindings {
  readonly #links: RedisLinks;
  readonly #known = new Map<string, readonly [key: string, member: string]>();
  readonly #unwritten = new Set<string>();

  constructor(links: RedisLinks) {
    this.#links = links;
  }

  /** Sees to it that `write` binds this name, if it is new. @throws ConfigError `E_CONFIG_RANGE` */
  plan(queue: string): void {
    if (this.#known.size > BOUND_NAMES) this.#known.clear();
    if (this.#known.has(queue)) return;
    checkQueueName(queue);
    this.#known.set(queue, queueBinding(this.#links.keys.prefix, queue, this.#links.queues));
    this.#unwritten.add(queue);
  }

  /** Only kombu's own routing reads bindings; a refusal (full memory) is told by the LPUSH that follows. */
  write(): void {
    if (this.#unwritten.size === 0) return;
    for (const name of this.#unwritten) {
      const binding = this.#known.get(name);
      if (binding) this.#links.sending.call('sadd', binding).catch(() => this.#known.delete(name));
    }
    this.#unwritten.clear();
  }

  /** On a new connection: the server may have been emptied since. */
  renew(): void {
    for (const name of this.#known.keys()) this.#unwritten.add(name);
  }
}
