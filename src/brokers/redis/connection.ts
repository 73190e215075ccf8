/**
 * The two connections of a Redis broker: one for commands (pop, settle, publish), one that listens (wake-ups by client
 * tracking, broadcasts). Keeps the first one's tracking pointed at the second, whichever of them was made anew.
 * Next stop: `consume.ts` or `publish.ts`.
 */
import { RedisConnection, type RedisReply } from '../../clients/redis.js';
import type { RedisTarget } from '../../clients/redis-url.js';
import { toError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { type RedisKeys, redisKeys } from './keys.js';

/** What a consumer hears of the connections. */
export interface LinkListener {
  /** There is a (new) command connection. */
  onUp(): void;
  onDown(cause: Error): void;
  /** These keys got something; `null`: any may have. */
  onWake(keys: readonly string[] | null): void;
}

/** How often the listening connection proves that it lives; a dead one would never wake anybody. */
const LISTENER_PING_MS = 30_000;
const INVALIDATIONS = '__redis__:invalidate';

export class RedisLinks {
  readonly keys: RedisKeys;
  readonly target: RedisTarget;
  readonly logger: Logger;
  readonly commands: RedisConnection;
  readonly listening: RedisConnection;
  readonly #consumers = new Set<LinkListener>();
  readonly #onUp = new Set<() => void>();
  readonly #patterns = new Map<string, Set<(channel: string, payload: Buffer) => void>>();
  #listenerId: number | null = null;
  #tracking = false;
  #refusalTold = false;
  #ping: NodeJS.Timeout | undefined;

  constructor(target: RedisTarget, logger: Logger) {
    this.target = target;
    this.logger = logger;
    this.keys = redisKeys(target.prefix, target.db);
    this.commands = new RedisConnection({
      target,
      logger,
      name: 'lovage:commands',
      onReady: () => this.#commandsUp(),
      onLost: (cause) => {
        this.#tracking = false;
        for (const consumer of this.#consumers) consumer.onDown(cause);
      },
    });
    this.listening = new RedisConnection({
      target,
      logger,
      name: 'lovage:listening',
      setup: async (link) => {
        this.#listenerId = (await link.call('client', ['id'])) as number;
        await link.call('subscribe', [INVALIDATIONS]);
        if (this.#patterns.size > 0) await link.call('psubscribe', [...this.#patterns.keys()]);
      },
      onReady: () => this.#track(),
      onLost: () => {
        this.#listenerId = null;
        this.#tracking = false;
      },
      onMessage: (_channel, payload) => this.#wake(payload),
      onPatternMessage: (pattern, channel, payload) => {
        for (const handler of this.#patterns.get(pattern) ?? []) handler(channel, payload);
      },
    });
  }

  /** Whether an LPUSH into an awaited list wakes us; otherwise consumers look by themselves once a second. */
  get wakes(): boolean {
    return this.#tracking;
  }

  /** Calls back at each new command connection. */
  onUp(callback: () => void): void {
    this.#onUp.add(callback);
  }

  addConsumer(consumer: LinkListener): void {
    this.#consumers.add(consumer);
    this.commands.open();
    this.#listen();
    if (this.commands.isReady) {
      this.#track();
      consumer.onUp();
    }
  }

  removeConsumer(consumer: LinkListener): void {
    this.#consumers.delete(consumer);
  }

  /** Adds a handler for the messages of a PSUBSCRIBE pattern; resolves when the server has confirmed it. */
  async addPattern(pattern: string, handler: (channel: string, payload: Buffer) => void, timeoutMs: number): Promise<void> {
    let handlers = this.#patterns.get(pattern);
    const isNew = handlers === undefined;
    handlers ??= new Set();
    handlers.add(handler);
    this.#patterns.set(pattern, handlers);
    this.#listen();
    try {
      const { epoch } = this.listening;
      await this.listening.whenReady(timeoutMs);
      // a connection made meanwhile has subscribed to it in its set-up
      if (isNew && this.listening.epoch === epoch) await this.listening.call('psubscribe', [pattern]);
    } catch (error) {
      await this.removePattern(pattern, handler);
      throw error;
    }
  }

  async removePattern(pattern: string, handler: (channel: string, payload: Buffer) => void): Promise<void> {
    const handlers = this.#patterns.get(pattern);
    if (!handlers?.delete(handler) || handlers.size > 0) return;
    this.#patterns.delete(pattern);
    if (this.listening.isReady) await this.listening.call('punsubscribe', [pattern]).catch(() => {});
  }

  async close(): Promise<void> {
    clearInterval(this.#ping);
    this.#consumers.clear();
    this.#patterns.clear();
    await Promise.all([this.commands.close(), this.listening.close()]);
  }

  #listen(): void {
    this.listening.open();
    this.#ping ??= setInterval(() => {
      // No answer within the connection's own limit makes it drop the socket, which is all that is wanted here.
      if (this.listening.isReady) this.listening.call('ping', []).catch(() => {});
    }, LISTENER_PING_MS).unref();
  }

  #commandsUp(): void {
    this.#tracking = false;
    this.#track();
    for (const callback of this.#onUp) callback();
    for (const consumer of this.#consumers) consumer.onUp();
  }

  /** Sent before any pop on this connection: Redis remembers the keys of those pops for the listening one. */
  #track(): void {
    const id = this.#listenerId;
    if (this.#consumers.size === 0 || !this.commands.isReady || !this.listening.isReady || id === null) return;
    this.#tracking = true;
    this.commands.call('client', ['tracking', 'on', 'redirect', String(id)]).then(
      () => this.#wake(null),
      (error: unknown) => {
        if (this.#listenerId !== id || !this.commands.isReady) return;
        this.#tracking = false;
        this.#wake(null);
        if (this.#refusalTold) return;
        this.#refusalTold = true;
        this.logger.warn(
          { server: this.target.label, cause: toError(error).message },
          'redis: the server refuses CLIENT TRACKING, so idle workers look into their queues once a second; allow the command to this user to stop that',
        );
      },
    );
  }

  #wake(payload: RedisReply): void {
    const keys = Array.isArray(payload) ? payload.map(String) : null;
    for (const consumer of this.#consumers) consumer.onWake(keys);
  }
}
