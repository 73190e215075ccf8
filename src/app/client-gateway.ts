/** The gateway of a client: a broker and a result store of its own, each opened by its URL at the first use. */
import type { Broadcast, Broker, OutgoingMessage, PublishOptions, PublishResult } from '../brokers/broker.js';
import { openBroker } from '../brokers/from-url.js';
import { publishOnce } from '../brokers/send-once.js';
import { ChordDeadlines } from '../results/chord-deadlines.js';
import { chordsOf, giveUp, type HopelessPart, type OpenChord } from '../results/chords.js';
import { openResultStore } from '../results/from-url.js';
import type { ResultStore, ResultWrite } from '../results/result-store.js';
import { answerSavedCall, type SavedCall } from '../results/saved-results.js';
import type { WireMessage } from '../wire/message.js';
import type { AppConfig } from './config.js';
import type { Gateway } from './gateway.js';
import { Lazy } from './lazy.js';
import { within } from './within.js';

/** Rejects with the signal's reason if it aborts before the work is done. */
function abortable<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    if (signal.aborted) return onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

export class ClientGateway implements Gateway {
  readonly #broker: Lazy<Broker>;
  readonly #results: Lazy<ResultStore>;
  readonly #answersByQueue: boolean;
  readonly #deadlines = new ChordDeadlines({ broadcast: (message) => this.broadcast(message), nowMs: Date.now });
  readonly #openResults = (): Promise<ResultStore> => this.#results.get();

  constructor(config: Pick<AppConfig, 'brokerUrl' | 'resultUrl' | 'queues' | 'logger'>) {
    const { brokerUrl, queues, logger } = config;
    this.#broker = new Lazy(() => openBroker({ url: brokerUrl, queues, logger, role: 'client' }));
    this.#results = new Lazy(() => openResultStore({ url: config.resultUrl, logger: config.logger, role: 'client' }));
    this.#answersByQueue = /^rpc:/i.test(config.resultUrl);
  }

  publish(messages: readonly OutgoingMessage[], options: PublishOptions): Promise<readonly PublishResult[]> {
    const broker = this.#broker.value;
    return broker ? publishOnce(broker, this.#openResults, messages, options) : this.#openAndPublish(messages, options);
  }

  async #openAndPublish(messages: readonly OutgoingMessage[], options: PublishOptions): Promise<readonly PublishResult[]> {
    const startedMs = performance.now();
    const broker = await within(this.#broker.get(), options.timeoutMs, options.signal);
    const timeoutMs = Math.max(1, options.timeoutMs - (performance.now() - startedMs));
    return publishOnce(broker, this.#openResults, messages, { ...options, timeoutMs });
  }

  async prepareResults(): Promise<string | null> {
    // Only answers by queue need to be prepared; a client that never asks for a result should open no store.
    return this.#answersByQueue ? (await this.#results.get()).prepare() : null;
  }

  async getResults(ids: readonly string[]): Promise<readonly (string | null)[]> {
    return (await this.#results.get()).get(ids);
  }

  async waitResult(id: string, signal: AbortSignal, onUpdate?: (meta: string) => void): Promise<string> {
    const store = await abortable(this.#results.get(), signal);
    return store.wait(id, { signal }, onUpdate);
  }

  async forgetResults(ids: readonly string[]): Promise<void> {
    await (await this.#results.get()).forget(ids);
  }

  async storeResults(writes: readonly ResultWrite[]): Promise<void> {
    await (await this.#results.get()).set(writes);
  }

  async savedResults(call: SavedCall): Promise<readonly (string | null)[]> {
    return answerSavedCall(await this.#results.get(), call);
  }

  async openChords(chords: readonly OpenChord[]): Promise<void> {
    await chordsOf(await this.#results.get()).open(chords);
    await this.#deadlines.tell(chords);
  }

  async giveUpParts(parts: readonly HopelessPart[], resultTtlMs: number | null): Promise<void> {
    await giveUp(await this.#results.get(), parts, resultTtlMs, Date.now());
    await this.#deadlines.tell([{ deadlineMs: Date.now() }]);
  }

  async withdraw(ids: readonly string[]): Promise<ReadonlyMap<string, WireMessage>> {
    return (await this.#broker.get()).revocations.withdraw(ids);
  }

  async recordRevoked(ids: readonly string[], ttlMs: number): Promise<readonly boolean[]> {
    const { records } = (await this.#broker.get()).revocations;
    const kept = records ?? (await this.#results.get()).revocations;
    return kept ? kept.add(ids, ttlMs) : ids.map(() => false);
  }

  async broadcast(broadcast: Broadcast): Promise<void> {
    await (await this.#broker.get()).broadcast(broadcast);
  }

  broker(): Promise<Broker> {
    return this.#broker.get();
  }

  async close(): Promise<void> {
    const closed = await Promise.allSettled([this.#broker.close(), this.#results.close()]);
    for (const outcome of closed) if (outcome.status === 'rejected') throw outcome.reason;
  }
}
