/**
 * The two connections of a Redis broker: one for commands (pop, settle, publish), one that listens (wake-ups by client
 * tracking, broadcasts). Keeps the first one's tracking pointed at the second, whichever of them was made anew, and both
 * on one server. With `wait_replicas` a third one sends, because a WAIT holds up its connection.
 * Next stop: `consume.ts` or `publish.ts`.
 */
import { RedisConnection, type RedisReply, redisErrorCode } from '../../clients/redis.js';
import type { RedisTarget } from '../../clients/redis-url.js';
import { toError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { NO_QUEUE_TABLE, type QueueTable } from '../queue-table.js';
import { type RedisKeys, redisKeys } from './keys.js';

/** What a consumer hears of the connections. */
export interface LinkListener {
  /** There is a (new) command connection. */
  onUp(): void;
  onDown(cause: Error): void;
  /** These keys got something; `null`: any may have. */
  onWake(keys: readonly string[] | null): void;
  /** The next delayed message is due in so many milliseconds; 0: it may be due, look. */
  onDue(delayMs: number): void;
}

/**
 * How long a connection may be quiet before it is asked whether it lives. While there is work a dead one is found, and
 * replaced, within five seconds. An idle worker may send ten commands a minute: four are sweeps, which are signs of life
 * on their own, and four are asked of the listening connection, whose death nobody would notice otherwise.
 */
const WORKING_BEAT_MS = 1_500;
const IDLE_BEAT_MS = 15_000;
const IDLE_COMMANDS_BEAT_MS = 20_000;
/** So long after the last message there is work, for that purpose. */
const WORKING_MS = 15_000;
/** A connection to another server than the other's is replaced at most so often. */
const GATHER_AGAIN_MS = 30_000;
const INVALIDATIONS = '__redis__:invalidate';

export class RedisLinks {
  readonly keys: RedisKeys;
  readonly target: RedisTarget;
  readonly logger: Logger;
  readonly queues: QueueTable;
  readonly commands: RedisConnection;
  readonly listening: RedisConnection;
  /** For messages going in; that of the commands unless replicas are waited for. */
  readonly sending: RedisConnection;
  readonly #consumers = new Set<LinkListener>();
  readonly #onSendingUp = new Set<() => void>();
  readonly #patterns = new Map<string, Set<(channel: string, payload: Buffer) => void>>();
  #listenerId: number | null = null;
  #tracking = false;
  /** What somebody should mend, by its kind: three kinds are known, and each has one sentence. */
  readonly #warnings = new Map<'policy' | 'tracking' | 'canary', string>();
  #workedMs = -Infinity;
  #gatheredMs = -Infinity;

  /** @param queues how they are bound to exchanges, for Celery's senders */
  constructor(target: RedisTarget, logger: Logger, queues: QueueTable = NO_QUEUE_TABLE) {
    this.target = target;
    this.logger = logger;
    this.queues = queues;
    this.keys = redisKeys(target.prefix, target.db);
    this.commands = new RedisConnection({
      target,
      logger,
      name: 'lovage:commands',
      heartbeatMs: () => this.#beatMs(IDLE_COMMANDS_BEAT_MS),
      onReady: () => this.#commandsUp(),
      onLost: (cause) => {
        this.#tracking = false;
        // what took this one may have taken the other too
        this.listening.check();
        for (const consumer of this.#consumers) consumer.onDown(cause);
      },
    });
    this.listening = new RedisConnection({
      target,
      logger,
      name: 'lovage:listening',
      heartbeatMs: () =>
        this.#patterns.size > 0 || this.#consumers.size > 0 ? (this.#beatMs(IDLE_BEAT_MS) ?? IDLE_BEAT_MS) : null,
      setup: async (link) => {
        this.#listenerId = (await link.call('client', ['id'])) as number;
        await link.call('subscribe', [INVALIDATIONS]);
        // Refused to this user: then its workers learn of messages that others delay when they look, once a lease.
        await link.call('subscribe', [this.keys.bell]).catch((error: unknown) => {
          if (redisErrorCode(error) === undefined) throw error;
        });
        if (this.#patterns.size > 0) await link.call('psubscribe', [...this.#patterns.keys()]);
      },
      onReady: () => this.#track(),
      onLost: () => {
        this.#listenerId = null;
        this.#tracking = false;
        this.commands.check();
        // nothing wakes them now: each looks, and then looks again each second
        this.#wake(null);
      },
      onMessage: (channel, payload) => (channel === this.keys.bell ? this.#due(Number(payload)) : this.#wake(payload)),
      onPatternMessage: (pattern, channel, payload) => {
        for (const handler of this.#patterns.get(pattern) ?? []) handler(channel, payload);
      },
    });
    this.sending =
      target.waitReplicas === 0
        ? this.commands
        : new RedisConnection({ target, logger, name: 'lovage:sending', onReady: () => this.#sendingUp() });
  }

  /** Whether an LPUSH into an awaited list wakes us; otherwise consumers look by themselves once a second. */
  get wakes(): boolean {
    return this.#tracking;
  }

  /** Calls back at each new connection for sending. */
  onSendingUp(callback: () => void): void {
    this.#onSendingUp.add(callback);
  }

  /** Messages came: a connection that dies now is missed at once. */
  noteWork(): void {
    this.#workedMs = performance.now();
  }

  /** Says what somebody should mend: in the log once, and to whoever asks from then on. */
  warn(kind: 'policy' | 'tracking' | 'canary', text: string, cause?: Error): void {
    if (this.#warnings.get(kind) === text && kind !== 'canary') return;
    this.#warnings.set(kind, text);
    this.logger.warn({ server: this.target.label, ...(cause ? { cause: cause.message } : {}) }, `redis: ${text}`);
  }

  get warnings(): readonly string[] {
    return [...this.#warnings.values()];
  }

  addConsumer(consumer: LinkListener): void {
    this.#consumers.add(consumer);
    this.commands.open();
    this.listening.open();
    if (this.commands.isReady) {
      this.#checkPolicy();
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
    this.listening.open();
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
    this.#consumers.clear();
    this.#patterns.clear();
    await Promise.all([this.commands.close(), this.listening.close(), this.sending.close()]);
  }

  /** `null` without a consumer: whoever only sends finds a dead connection by sending. */
  #beatMs(idleMs: number): number | null {
    if (this.#consumers.size === 0) return null;
    return performance.now() - this.#workedMs < WORKING_MS ? WORKING_BEAT_MS : idleMs;
  }

  #commandsUp(): void {
    this.#tracking = false;
    this.#checkPolicy();
    this.#track();
    if (this.sending === this.commands) this.#sendingUp();
    for (const consumer of this.#consumers) consumer.onUp();
  }

  #checkPolicy(): void {
    const policy = this.commands.server?.evictionPolicy ?? 'noeviction';
    if (policy === 'noeviction') this.#warnings.delete('policy');
    if (this.#consumers.size === 0 || policy === 'noeviction') return;
    const what = policy.startsWith('volatile')
      ? 'results and guards against double sends'
      : 'waiting tasks, results and everything else';
    this.warn(
      'policy',
      `${this.target.label} has the maxmemory-policy ${policy}: when its memory is full it throws away ${what}. Set it to noeviction`,
    );
  }

  #sendingUp(): void {
    for (const callback of this.#onSendingUp) callback();
  }

  /** After a fail-over behind one address the two may be on different servers, and then nobody would ever be woken. */
  #areTogether(): boolean {
    const [here, there] = [this.commands.server?.runId, this.listening.server?.runId];
    if (!here || !there || here === there) return true;
    const nowMs = performance.now();
    // Where two connections of one address never meet, idle workers look into their queues once a second.
    if (nowMs - this.#gatheredMs < GATHER_AGAIN_MS) return false;
    this.#gatheredMs = nowMs;
    const older = this.commands.readySinceMs < this.listening.readySinceMs ? this.commands : this.listening;
    older.reconnect(new Error('the other connection has found another server'));
    return false;
  }

  /** Sent before any pop on this connection: Redis remembers the keys of those pops for the listening one. */
  #track(): void {
    const id = this.#listenerId;
    if (this.#consumers.size === 0 || !this.commands.isReady || !this.listening.isReady || id === null) return;
    if (!this.#areTogether()) return;
    this.#tracking = true;
    this.commands.call('client', ['tracking', 'on', 'redirect', String(id)]).then(
      () => {
        this.#wake(null);
        this.#due(0);
      },
      (error: unknown) => {
        if (this.#listenerId !== id || !this.commands.isReady) return;
        this.#tracking = false;
        this.#wake(null);
        this.warn(
          'tracking',
          `${this.target.label} refuses CLIENT TRACKING, so idle workers look into their queues once a second: allow the command to this user to stop that`,
          toError(error),
        );
      },
    );
  }

  #due(delayMs: number): void {
    if (!Number.isFinite(delayMs)) return;
    for (const consumer of this.#consumers) consumer.onDue(delayMs);
  }

  #wake(payload: RedisReply): void {
    const keys = Array.isArray(payload) ? payload.map(String) : null;
    for (const consumer of this.#consumers) consumer.onWake(keys);
  }
}
