/** What an app sent during a test: a gateway that remembers, and messages in a form that people can compare. */
import type { Gateway } from '../app/gateway.js';
import type { Broadcast, Broker, OutgoingMessage, PublishOptions, PublishResult } from '../brokers/broker.js';
import type { HopelessPart, OpenChord } from '../results/chords.js';
import type { ResultWrite } from '../results/result-store.js';
import type { SavedCall } from '../results/saved-results.js';
import type { WireMessage } from '../wire/message.js';
import { decodeTaskBody, userHeaders } from '../wire/task-message.js';

/** One task that was sent, read back from its message. */
export interface SentTask {
  readonly id: string;
  /** The task's name. */
  readonly task: string;
  readonly args: readonly unknown[];
  /** Keywords; the input of an object task. */
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly queue: string;
  /** 0 to 9, higher = sooner; `null`: the broker's default. */
  readonly priority: number | null;
  /** When it may run at the earliest. */
  readonly eta: Date | null;
  readonly expires: Date | null;
  /** User headers. */
  readonly headers: Readonly<Record<string, unknown>>;
  /** The task that sent it. */
  readonly parentId: string | null;
}

/** How many messages are remembered; the oldest go first. */
export const MAX_SENT = 10_000;

function dateOf(header: unknown): Date | null {
  return typeof header === 'string' ? new Date(header) : null;
}

function readSent({ to, message, priority }: OutgoingMessage): SentTask {
  const { headers } = message;
  const { args, kwargs } = decodeTaskBody(message);
  const { lovage_resent: _, ...own } = userHeaders(headers);
  return {
    id: String(headers.id),
    task: String(headers.task),
    args,
    kwargs,
    queue: to.queue,
    priority: priority ?? null,
    eta: dateOf(headers.eta),
    expires: dateOf(headers.expires),
    headers: own,
    parentId: typeof headers.parent_id === 'string' ? headers.parent_id : null,
  };
}

/** Passes everything on and remembers what was confirmed. */
export class RecordingGateway implements Gateway {
  readonly #inner: Gateway;
  #messages: OutgoingMessage[] = [];

  constructor(inner: Gateway) {
    this.#inner = inner;
  }

  get sent(): readonly SentTask[] {
    return this.#messages.map(readSent);
  }

  clear(): void {
    this.#messages = [];
  }

  async publish(messages: readonly OutgoingMessage[], options: PublishOptions): Promise<readonly PublishResult[]> {
    const results = await this.#inner.publish(messages, options);
    for (let index = 0; index < messages.length; index++)
      if (results[index] === null) this.#messages.push(messages[index] as OutgoingMessage);
    if (this.#messages.length > MAX_SENT) this.#messages = this.#messages.slice(-MAX_SENT);
    return results;
  }

  prepareResults(): Promise<string | null> {
    return this.#inner.prepareResults();
  }
  getResults(ids: readonly string[]): Promise<readonly (string | null)[]> {
    return this.#inner.getResults(ids);
  }
  waitResult(id: string, signal: AbortSignal, onUpdate?: (meta: string) => void): Promise<string> {
    return this.#inner.waitResult(id, signal, onUpdate);
  }
  forgetResults(ids: readonly string[]): Promise<void> {
    return this.#inner.forgetResults(ids);
  }
  storeResults(writes: readonly ResultWrite[]): Promise<void> {
    return this.#inner.storeResults(writes);
  }
  savedResults(call: SavedCall): Promise<readonly (string | null)[]> {
    return this.#inner.savedResults(call);
  }
  openChords(chords: readonly OpenChord[]): Promise<void> {
    return this.#inner.openChords(chords);
  }
  giveUpParts(parts: readonly HopelessPart[], resultTtlMs: number | null): Promise<void> {
    return this.#inner.giveUpParts(parts, resultTtlMs);
  }
  withdraw(ids: readonly string[]): Promise<ReadonlyMap<string, WireMessage>> {
    return this.#inner.withdraw(ids);
  }
  recordRevoked(ids: readonly string[], ttlMs: number): Promise<readonly boolean[]> {
    return this.#inner.recordRevoked(ids, ttlMs);
  }
  broadcast(broadcast: Broadcast): Promise<void> {
    return this.#inner.broadcast(broadcast);
  }
  broker(): Promise<Broker> {
    return this.#inner.broker();
  }
  close(): Promise<void> {
    return this.#inner.close();
  }
}
