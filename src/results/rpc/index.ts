/**
 * `rpc:` results over RabbitMQ, as Celery's (wire section 6.8): a worker sends each state to the sender's own queue. Only the sender
 * can read them, there is no store and no fence: see `capabilities`.
 *
 * Next stops: `reply-queue.ts` where answers arrive, `kept-results.ts` where they wait; publishing is `clients/amqp-publisher.ts`.
 */
import { AmqpLink } from '../../clients/amqp.js';
import type { AmqpOutgoing } from '../../clients/amqp-batch.js';
import { ConfirmPublisher } from '../../clients/amqp-publisher.js';
import { parseAmqpUrl } from '../../clients/amqp-url.js';
import { BrokerError } from '../../core/errors.js';
import type {
  Claim,
  ResultStore,
  ResultStoreCapabilities,
  ResultStoreOptions,
  ResultWrite,
  WaitOptions,
  WriteResult,
} from '../result-store.js';
import { KeptResults } from './kept-results.js';
import { ReplyQueue } from './reply-queue.js';

const CAPABILITIES: ResultStoreCapabilities = {
  readableByAnyone:
    'rpc: sends each result to the process that sent the task, and keeps it nowhere else: use results: redis:// to read them by id',
  fence: 'rpc: has no store that could refuse the late result of a worker that lost its task: use results: redis:// for that',
  sendKeys: 'rpc: keeps nothing: use results: redis:// or file:PATH',
  chords:
    'rpc: sends results to their sender only, so nobody could count the parts of a chord: use results: redis:// or file:PATH',
  steps: 'rpc: keeps nothing that the next try of a task could read: use results: redis:// or file:PATH',
};

/** Writing and preparing wait this long for the broker, reconnects included. */
const WRITE_MS = 30_000;
const PREPARE_MS = 10_000;

/** Opens the store; `url` is the amqp URL without `rpc:`. Connects on first use. @throws ConfigError `E_CONFIG_URL` */
export async function openRpcResults(options: ResultStoreOptions): Promise<RpcResultStore> {
  return new RpcResultStore(options);
}

/** AMQP has one byte for the length of a routing key or property. */
const fitsShortText = (text: string): boolean => text.length <= 85 || Buffer.byteLength(text) <= 255;

export class RpcResultStore implements ResultStore {
  readonly name = 'rpc';
  readonly capabilities = CAPABILITIES;
  readonly #options: ResultStoreOptions;
  readonly #writeLink: AmqpLink;
  readonly #readLink: AmqpLink;
  readonly #publisher: ConfirmPublisher;
  readonly #kept = new KeptResults();
  #replies: ReplyQueue | undefined;
  #warned = false;
  #closed = false;

  constructor(options: ResultStoreOptions) {
    const target = parseAmqpUrl(options.url);
    this.#options = options;
    this.#writeLink = new AmqpLink(target, `lovage ${options.role} results out`, options.logger);
    this.#readLink = new AmqpLink(target, `lovage ${options.role} results in`, options.logger);
    this.#publisher = new ConfirmPublisher(this.#writeLink);
  }

  /** Waits that have not ended; for tests of leaks. */
  get waits(): number {
    return this.#kept.waits;
  }

  async connect({ timeoutMs }: { readonly timeoutMs: number }): Promise<void> {
    this.#assertOpen();
    // A client reads and an engine writes; the other connection is made if it is ever needed.
    await (this.#options.role === 'client' ? this.#readLink : this.#writeLink).connected(timeoutMs);
  }

  async set(writes: readonly ResultWrite[]): Promise<readonly WriteResult[]> {
    this.#assertOpen();
    const messages: AmqpOutgoing[] = [];
    for (const { id, meta, replyTo, correlationId } of writes) {
      if (!replyTo) continue; // the sender did not ask
      const answers = correlationId ?? id;
      // Refused by the client each time that it is tried: the sender cannot be waiting for that, and others do.
      if (!fitsShortText(replyTo) || !fitsShortText(answers)) {
        this.#options.logger.warn({ id }, 'a result cannot be sent: its reply queue or correlation id has more than 255 bytes');
        continue;
      }
      messages.push({
        exchange: '',
        routingKey: replyTo,
        content: Buffer.from(meta),
        options: {
          contentType: 'application/json',
          contentEncoding: 'utf-8',
          deliveryMode: 1,
          priority: 0,
          correlationId: answers,
          // Not mandatory: a sender that has gone needs no answer.
          headers: {},
        },
      });
    }
    const failures = await this.#publisher.publish(messages, { timeoutMs: WRITE_MS });
    const failure = failures.find((each) => each !== null);
    if (failure) throw new BrokerError(failure.code, `results could not be sent: ${failure.message}`, { cause: failure.cause });
    return writes.map(() => 'stored');
  }

  async get(ids: readonly string[]): Promise<readonly (string | null)[]> {
    this.#assertOpen();
    return ids.map((id) => this.#kept.get(id));
  }

  /** Nobody keeps epochs: every claim gets the first. */
  async claim(): Promise<Claim> {
    this.#assertOpen();
    return { epoch: 1 };
  }

  async prepare(): Promise<string> {
    this.#assertOpen();
    this.#replies ??= new ReplyQueue(this.#readLink, this.#options.logger, (id, meta) => this.#arrived(id, meta));
    await this.#replies.ready(PREPARE_MS);
    return this.#replies.name;
  }

  async wait(id: string, { signal }: WaitOptions, onUpdate?: (meta: string) => void): Promise<string> {
    this.#assertOpen();
    signal.throwIfAborted();
    return new Promise((resolve, reject) => {
      let leave: (() => void) | undefined;
      let over = false;
      const end = (settle: () => void): void => {
        over = true;
        signal.removeEventListener('abort', onAbort);
        leave?.();
        settle();
      };
      const onAbort = (): void => end(() => reject(signal.reason as Error));
      signal.addEventListener('abort', onAbort, { once: true });
      leave = this.#kept.wait(id, {
        onFinal: (meta) => end(() => resolve(meta)),
        onUpdate: (meta) => onUpdate?.(meta),
        onClosed: (error) => end(() => reject(error)),
      });
      if (over) leave(); // it was there already
    });
  }

  async forget(ids: readonly string[]): Promise<void> {
    this.#assertOpen();
    for (const id of ids) this.#kept.forget(id);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#kept.close(new BrokerError('E_CLOSED', 'the rpc result store was closed while a result was awaited'));
    await this.#replies?.close();
    await this.#publisher.close();
    await Promise.all([this.#writeLink.close(), this.#readLink.close()]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #arrived(id: string, meta: string): void {
    if (!this.#kept.put(id, meta)) this.#options.logger.warn({ id }, 'what came to the reply queue is no result');
    if (this.#kept.dropped === 0 || this.#warned) return;
    this.#warned = true;
    this.#options.logger.warn(
      { kept: this.#kept.size },
      'more results than are kept in memory: the oldest are dropped; send with ignoreResult, forget() them, or use redis:// results',
    );
  }

  #assertOpen(): void {
    if (this.#closed) throw new BrokerError('E_CLOSED', 'the rpc result store was used after close()');
  }
}
