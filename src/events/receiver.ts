/**
 * Hearing the events of a cluster, of Python's nodes as well: `app.events()`, `lovage events`, `lovage top`. Reads arrays,
 * single objects and garbage; what the consumer does not fetch in time is dropped, oldest first, with a count.
 * What the events add up to is `cluster-state.ts`.
 */
import type { EventSource, EventStream, EventsOptions } from '../app/events/event-stream.js';
import type { Broadcast, Subscription } from '../brokers/broker.js';
import { ConfigError, toError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { encodeControlRequest } from '../wire/control-message.js';
import { decodeEvents, EVENT_EXCHANGE, type WireEvent } from '../wire/event-message.js';

const BUFFER = 10_000;
const MOST_BUFFER = 1_000_000;

/** Begins to listen. @throws ConfigError `E_CONFIG_TYPE`, `E_CONFIG_RANGE` */
export function openEvents(source: EventSource, options: EventsOptions = {}): EventStream {
  return new Stream(source, options);
}

class Stream implements EventStream {
  readonly ready: Promise<void>;
  dropped = 0;
  refused = 0;
  readonly #logger: Logger;
  readonly #onClosed: (() => void) | undefined;
  readonly #types: ReadonlySet<string> | null;
  readonly #most: number;
  readonly #signal: AbortSignal | undefined;
  /** Bounded by `#most`: those from `#head` on wait. */
  #events: WireEvent[] = [];
  #head = 0;
  #wake: (() => void) | null = null;
  #subscription: Subscription | null = null;
  #fault: Error | null = null;
  #closed = false;
  #closing: Promise<void> | null = null;

  constructor(source: EventSource, { types, signal, buffer = BUFFER }: EventsOptions) {
    if (!Number.isSafeInteger(buffer) || buffer < 1 || buffer > MOST_BUFFER)
      throw new ConfigError('E_CONFIG_RANGE', `buffer is ${buffer}: it must be a whole number from 1 to ${MOST_BUFFER}`);
    if (types !== undefined && !(Array.isArray(types) && types.every((type) => typeof type === 'string' && type !== '')))
      throw new ConfigError('E_CONFIG_TYPE', "types must be an array of event types, for example ['task-failed']");
    this.#logger = source.logger;
    this.#onClosed = source.onClosed;
    this.#types = types === undefined ? null : new Set(types);
    this.#most = buffer;
    this.#signal = signal;
    this.ready = this.#open(source);
    // Whoever loops hears of it there.
    this.ready.catch(() => {});
    if (signal?.aborted) void this.close();
    else signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<WireEvent, void, undefined> {
    // A broker that only has timers and watchers that keep nothing alive (file) would let Node end under the loop.
    const stay = setInterval(() => {}, 3_600_000);
    try {
      for (;;) {
        const event = this.#take();
        if (event !== null) yield event;
        else if (this.#fault !== null && !this.#closed) throw this.#fault;
        else if (this.#closed) return;
        else await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      clearInterval(stay);
      await this.close();
    }
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#events = [];
    this.#head = 0;
    this.#signal?.removeEventListener('abort', this.#onAbort);
    this.#ring();
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    await this.ready.catch(() => {});
    this.#onClosed?.();
    await this.#subscription?.close();
  }

  readonly #onAbort = (): void => void this.close().catch(() => {});

  async #open(source: EventSource): Promise<void> {
    try {
      const broker = await source.broker();
      if (this.#closed) return;
      this.#subscription = await broker.listen(EVENT_EXCHANGE, patternOf(this.#types), (broadcast) => this.#hear(broadcast));
      // Workers answer with a heartbeat, and those that send events only on demand look who listens.
      const { exchange, routingKey, message } = encodeControlRequest({ method: 'heartbeat' });
      await broker.broadcast({ exchange, routingKey, message });
    } catch (error) {
      this.#fault = toError(error);
      this.#ring();
      throw error;
    }
  }

  #hear({ message }: Broadcast): void {
    if (this.#closed) return;
    try {
      const { events, refused } = decodeEvents(message);
      this.refused += refused;
      for (const event of events) if (this.#types === null || this.#types.has(event.type)) this.#put(event);
    } catch (error) {
      this.refused += 1;
      this.#logger.debug({ error: toError(error).message }, 'a message that is no event was ignored');
    }
  }

  #put(event: WireEvent): void {
    if (this.#events.length - this.#head >= this.#most) {
      this.#head += 1;
      this.dropped += 1;
    }
    this.#events.push(event);
    this.#compact();
    this.#ring();
  }

  #take(): WireEvent | null {
    const event = this.#events[this.#head] ?? null;
    if (event !== null) this.#head += 1;
    this.#compact();
    return event;
  }

  /** In steps, so that a long list costs little per event. */
  #compact(): void {
    if (this.#head < 1_000 && this.#head < this.#events.length) return;
    if (this.#head * 2 < this.#events.length) return;
    this.#events = this.#events.slice(this.#head);
    this.#head = 0;
  }

  #ring(): void {
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
  }
}

/** Task events come in arrays under one key, so a listener takes all of them or none; one of workers alone wakes no task events. */
function patternOf(types: ReadonlySet<string> | null): string {
  const group = (name: string): boolean =>
    types !== null && types.size > 0 && [...types].every((type) => type.startsWith(`${name}-`));
  return group('worker') ? 'worker.#' : group('task') ? 'task.#' : '#';
}
