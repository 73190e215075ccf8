/**
 * Notices that the server throws data away: by its setting, when a worker starts, and by a key of ours that nobody
 * deletes and that nothing touches, so that an eviction takes it among the first. INFO and EXISTS only: managed servers
 * refuse CONFIG.
 *
 * Bounded: one key a database, without an expiry because the milder policies evict only keys that have one.
 */
import type { RedisLinks } from './connection.js';

export class RedisCanary {
  readonly key: string;
  readonly #links: RedisLinks;
  /** The run of the server in which it was there. */
  #seenIn: string | null = null;

  constructor(links: RedisLinks) {
    this.#links = links;
    this.key = `${links.keys.prefix}lovage:canary`;
  }

  /** Told with each sweep whether the key is there. */
  async seen(isThere: boolean): Promise<void> {
    const { commands, logger, target } = this.#links;
    const runId = commands.server?.runId ?? '';
    const policy = commands.server?.evictionPolicy ?? 'unknown to us';
    const seenIn = this.#seenIn;
    this.#seenIn = isThere ? runId : null;
    if (isThere) return;
    if (seenIn !== null) {
      const warning =
        seenIn === runId
          ? `a key of ours without expiry has vanished: ${target.label} evicts keys (its maxmemory-policy is ${policy}), or its database was flushed. Waiting tasks can vanish the same way: set maxmemory-policy to noeviction`
          : `${target.label} came back without the keys that it held: it keeps no data on disk (set appendonly yes), or a replica took over that did not have them`;
      this.#links.warn('canary', warning);
    }
    try {
      // refused while the memory is full: then a later sweep writes it
      await commands.call('set', [this.key, new Date().toISOString(), 'nx']);
      this.#seenIn = runId;
    } catch (error) {
      logger.debug({ cause: String(error) }, 'redis: the canary could not be written');
    }
  }
}
