/**
 * One AMQP connection that comes back for ever: URL, TLS, connect, reconnect with backoff and jitter, close.
 *
 * The only importer of amqplib (an optional peer, loaded when an amqp URL asks for it). We recover ourselves and do not use
 * the client's own recovery: it hides for how long it tries, and channels die with the connection either way.
 * It owns no channel: those are made by whoever listens to `onUp` (`amqp-setup.ts`, `amqp-publisher.ts`, `brokers/rabbitmq/consumer.ts`).
 */
import type { ChannelModel, SocketOptions } from 'amqplib';
import { reconnectDelayMs } from '../core/backoff.js';
import { BrokerError, ConfigError, toError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { guardFrames } from './amqp-frame-guard.js';
import { hintOf, refusalOf } from './amqp-refusal.js';
import type { AmqpTarget } from './amqp-url.js';
import { GOODBYE_MS, within } from './within.js';

export type {
  Channel,
  ChannelModel,
  ConfirmChannel,
  ConsumeMessage,
  GetMessage,
  Message,
  Options,
} from 'amqplib';

/** A TCP connect and AMQP handshake that takes longer than this is given up: a busy broker needs its time. */
const CONNECT_TIMEOUT_MS = 10_000;
/**
 * When a try has not been answered for this long, another starts beside it. One that fell into a black hole only learns of the
 * network's return when TCP happens to try again, many seconds later; a fresh one learns of it at once.
 */
const BESIDE_MS = 2_000;
const MOST_TRIES_AT_ONCE = 4;
const LONGEST_RETRY_MS = 2_000;
/** What one turn of the loop may write at once; the default of 16 KiB would end after some 25 messages. */
const WRITE_BUFFER_BYTES = 256 * 1_024;

/**
 * How long to wait before try n, counted from 0. Shorter at most than the general backoff: consuming has to go on within five seconds
 * of the broker's return, and the try itself takes time too.
 */
export const retryDelayMs = (tries: number): number => Math.min(reconnectDelayMs(tries, Math.random()), LONGEST_RETRY_MS);

type Amqplib = typeof import('amqplib');

async function loadAmqplib(): Promise<Amqplib> {
  try {
    const loaded = (await import('amqplib')) as Amqplib & { readonly default?: Amqplib };
    return loaded.default ?? loaded; // CommonJS: the names live on `default`
  } catch (error) {
    throw new ConfigError('E_DRIVER_MISSING', 'an amqp:// URL needs the package amqplib, which is not installed: npm i amqplib', {
      cause: error,
    });
  }
}

/** Who is told about the connection. Both are called on every up and down, in the order in which they were added. */
export interface LinkListener {
  onUp(model: ChannelModel): void;
  onDown(cause: Error): void;
}

interface Waiter {
  resolve(model: ChannelModel): void;
  reject(error: Error): void;
}

/** A connection that reconnects until it is closed. Nothing happens before `open()` or `connected()`. */
export class AmqpLink {
  readonly #target: AmqpTarget;
  readonly #name: string;
  readonly #logger: Logger;
  readonly #listeners = new Set<LinkListener>();
  readonly #waiters = new Set<Waiter>();
  #model: ChannelModel | undefined;
  #state: 'new' | 'running' | 'closed' = 'new';
  #tries = 0;
  /** Tries under way. */
  #pending = 0;
  /** For the next try. */
  #timer: NodeJS.Timeout | undefined;
  #lastError: Error | undefined;
  /** It was connected once, so the URL is right. */
  #wasUp = false;
  #blocked: string | null = null;
  #gathering = false;
  #gatherMore = false;

  /** @param name shown in the broker's list of connections and in our logs */
  constructor(target: AmqpTarget, name: string, logger: Logger) {
    this.#target = target;
    this.#name = name;
    this.#logger = logger.child({ connection: name, broker: target.shown });
  }

  /** The connection if it is up now. */
  get model(): ChannelModel | undefined {
    return this.#model;
  }

  /** The broker's reason while it refuses to read publishers (memory or disk alarm); otherwise `null`. */
  get blocked(): string | null {
    return this.#blocked;
  }

  /** The broker's version, for example `3.13.7`; `null` while it is not known. */
  get serverVersion(): string | null {
    return this.#model?.connection.serverProperties.version ?? null;
  }

  /** Tells `listener` about every connection from now on; at once if there is one. The returned function stops that. */
  listen(listener: LinkListener): () => void {
    this.#listeners.add(listener);
    if (this.#model) listener.onUp(this.#model);
    return () => void this.#listeners.delete(listener);
  }

  /** Starts to connect; returns at once. */
  open(): void {
    if (this.#state !== 'new') return;
    this.#state = 'running';
    void this.#connect();
  }

  /**
   * The connection, waiting for it at most `timeoutMs`.
   * @throws BrokerError `E_BROKER_UNREACHABLE`, `E_BROKER_AUTH`, `E_CLOSED`; ConfigError `E_DRIVER_MISSING`
   */
  connected(timeoutMs: number): Promise<ChannelModel> {
    if (this.#state === 'closed') return Promise.reject(this.#closedError());
    this.open();
    if (this.#model) return Promise.resolve(this.#model);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => waiter.reject(this.#unreachable()), timeoutMs);
      const ending =
        <T>(settle: (value: T) => void) =>
        (value: T): void => {
          clearTimeout(timer);
          this.#waiters.delete(waiter);
          settle(value);
        };
      const waiter: Waiter = { resolve: ending(resolve), reject: ending(reject) };
      this.#waiters.add(waiter);
    });
  }

  /**
   * Call before writing many small frames: what is written in this turn of the loop leaves in one system call, not in one each (which
   * is 40 % of the cost of publishing). Costs a lone frame one turn.
   */
  gather(): void {
    this.#gatherMore = true;
    if (this.#gathering || !this.#model) return;
    const stream = socketOf(this.#model);
    if (!stream?.cork || !stream.uncork) return;
    const turn = (): void => {
      const wrote = (stream.writableLength ?? 0) > 0;
      stream.uncork?.();
      // The client hands on what is left when the socket drains, so another turn is kept until nothing came in one.
      this.#gathering = wrote || this.#gatherMore;
      this.#gatherMore = false;
      if (!this.#gathering) return;
      stream.cork?.();
      setImmediate(turn);
    };
    this.#gathering = true;
    stream.cork();
    // Two turns: the client itself writes to the socket only in the next one.
    setImmediate(() => setImmediate(turn));
  }

  /** Gives the connection up because it looks alive but does not answer; a new one follows. */
  abandon(cause: Error): void {
    if (this.#model) destroySocket(this.#model, cause);
  }

  /** Closes for good, politely for at most `timeoutMs`. */
  async close(timeoutMs = GOODBYE_MS): Promise<void> {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    clearTimeout(this.#timer);
    for (const waiter of [...this.#waiters]) waiter.reject(this.#closedError());
    const model = this.#model;
    this.#model = undefined;
    if (!model) return;
    const goodbye = model.close().then(
      () => true,
      () => true,
    );
    if (!(await within(goodbye, timeoutMs))) destroySocket(model, new Error('closed'));
    for (const listener of [...this.#listeners]) listener.onDown(this.#closedError());
  }

  async #connect(): Promise<void> {
    const url = this.#target.urls[this.#tries % this.#target.urls.length]!;
    this.#tries += 1;
    this.#pending += 1;
    this.#schedule(BESIDE_MS);
    try {
      const amqplib = await loadAmqplib();
      const socket: SocketOptions & { readonly writableHighWaterMark: number } = {
        ...this.#target.tls,
        // Without it a confirmed publish can wait 40 ms for a delayed TCP acknowledgement.
        noDelay: true,
        keepAlive: true,
        keepAliveDelay: 30_000,
        writableHighWaterMark: WRITE_BUFFER_BYTES,
        timeout: CONNECT_TIMEOUT_MS,
        clientProperties: { connection_name: this.#name },
      };
      const model = await amqplib.connect(url, socket);
      // Without a listener for 'error' Node would throw; 'close' follows each of them.
      model.on('error', (error: Error) => (this.#lastError = error));
      if (this.#state === 'closed' || this.#model) return void model.close().catch(() => undefined);
      clearTimeout(this.#timer);
      this.#up(model);
    } catch (error) {
      this.#failed(toError(error));
    } finally {
      this.#pending -= 1;
    }
  }

  /** The next try. Its timer keeps the process alive on purpose: a worker that lost its broker has nothing else that would. */
  #schedule(delayMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#state !== 'running' || this.#model) return;
      if (this.#pending < MOST_TRIES_AT_ONCE) void this.#connect();
      else this.#schedule(BESIDE_MS);
    }, delayMs);
  }

  #up(model: ChannelModel): void {
    this.#model = model;
    this.#wasUp = true;
    this.#tries = 0;
    this.#blocked = null;
    this.#gathering = false;
    guardFrames(model.connection);
    let cause: Error | undefined;
    model.on('error', (error: Error) => (cause ??= error));
    model.on('blocked', (reason: string) => {
      this.#blocked = reason;
      this.#logger.warn({ reason }, 'the broker stopped reading from publishers; sends wait');
    });
    model.on('unblocked', () => {
      this.#blocked = null;
      this.#logger.info({}, 'the broker reads from publishers again');
    });
    model.on('close', (error?: Error) => {
      if (this.#model !== model) return;
      this.#model = undefined;
      this.#blocked = null;
      const reason = cause ?? error ?? new Error('connection closed');
      this.#logger.warn({ error: reason.message }, 'connection to the broker lost, reconnecting');
      for (const listener of [...this.#listeners]) listener.onDown(reason);
      this.#lastError = reason;
      if (this.#state === 'running') this.#schedule(retryDelayMs(0));
    });
    this.#logger.debug({ version: this.serverVersion }, 'connected');
    for (const waiter of [...this.#waiters]) waiter.resolve(model);
    for (const listener of [...this.#listeners]) listener.onUp(model);
  }

  #failed(error: Error): void {
    if (this.#state === 'closed') return;
    if (error instanceof ConfigError) {
      // A missing package will not appear while we wait.
      this.#state = 'new';
      clearTimeout(this.#timer);
      for (const waiter of [...this.#waiters]) waiter.reject(error);
      return;
    }
    // Somebody who waits for a first connection learns at once that the credentials are wrong, unless another address is left; a
    // running worker keeps trying.
    const refused = refusalOf(error, this.#target);
    if (refused && this.#tries >= this.#target.urls.length) for (const waiter of [...this.#waiters]) waiter.reject(refused);
    this.#logger.debug({ error: error.message, tries: this.#tries }, 'no connection to the broker yet');
    this.#lastError = refused ?? error;
    if (!this.#model) this.#schedule(retryDelayMs(this.#tries - 1));
  }

  #closedError(): BrokerError {
    return new BrokerError('E_CLOSED', `the connection ${this.#name} to ${this.#target.shown} was closed`);
  }

  #unreachable(): BrokerError {
    const error = this.#lastError;
    const hint = error === undefined || this.#wasUp ? '' : hintOf(error, this.#target);
    const last = error ? `: ${error.message || String((error as NodeJS.ErrnoException).code)}${hint}` : '';
    return new BrokerError(
      'E_BROKER_UNREACHABLE',
      `no connection to ${this.#target.shown}${last}. Is the broker running, and is the URL right?`,
      {
        cause: this.#lastError,
      },
    );
  }
}

/** The socket, which the client does not show. Everything that uses it does without if it is not there. */
interface HiddenSocket {
  readonly writableLength?: number;
  destroy?(error: Error): void;
  cork?(): void;
  uncork?(): void;
}

const socketOf = (model: ChannelModel): HiddenSocket | undefined =>
  (model.connection as { readonly stream?: HiddenSocket }).stream;

/** The client's `close()` waits for an answer that a dead peer never gives, for two heartbeats. */
function destroySocket(model: ChannelModel, cause: Error): void {
  socketOf(model)?.destroy?.(cause);
}
