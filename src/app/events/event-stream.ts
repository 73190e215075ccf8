/** The public face of events, `app.events()`. What it does lives in `events/`, which the app must not know; `index.ts` joins them. */
import type { Broker } from '../../brokers/broker.js';
import type { Logger } from '../../core/logger.js';
import type { WireEvent } from '../../wire/event-message.js';
import type { EventType } from '../../wire/event-types.js';

/** Options of `app.events()`. */
export interface EventsOptions {
  /** Only these types, for example `['task-failed', 'worker-offline']`. @defaultValue all */
  readonly types?: readonly (EventType | (string & {}))[] | undefined;
  /** Ends the stream; a loop over it then simply ends. */
  readonly signal?: AbortSignal | undefined;
  /** How many events may wait for the loop before the oldest are dropped. @defaultValue 10,000 */
  readonly buffer?: number | undefined;
}

/** The events of the cluster, as they come; see `app.events()`. It can be looped over once. */
export interface EventStream extends AsyncIterable<WireEvent> {
  /** Resolves when it listens: what is sent from then on is heard. Rejects when the broker cannot be reached. */
  readonly ready: Promise<void>;
  /** Events that were thrown away because the loop was too slow. */
  readonly dropped: number;
  /** What came and was no event: no type, no host name, no JSON. */
  readonly refused: number;
  /** Stops listening; the loop ends. */
  close(): Promise<void>;
  /** The same, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Where a stream hears events. */
export interface EventSource {
  broker(): Promise<Broker>;
  readonly logger: Logger;
  /** Told once, when it listens no more. */
  onClosed?(): void;
}
