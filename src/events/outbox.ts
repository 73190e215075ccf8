/**
 * Events on their way to the broker: batched, bounded, and dropped with a count before they slow a task down. Knows
 * nothing of why events are sent; that is `dispatcher.ts`. Next stop: `wire/event-message.ts`.
 */
import type { Broadcast } from '../brokers/broker.js';
import { EVENT_BATCH_SIZE, encodeEvent, encodeEventBatch, type WireEvent } from '../wire/event-message.js';
import { EVENT_TYPES } from '../wire/event-types.js';

/** Events that may wait at once, and characters of text in them: what comes while this is full is dropped. */
export const MAX_WAITING = 10_000;
export const MAX_WAITING_CHARACTERS = 4_194_304;
/** How tasks begin: these may fill half of it, so that there is room for how they end. A task whose end is missing would seem to run for ever. */
const BEGINNINGS: ReadonlySet<string> = new Set(['task-received', 'task-started']);
/** Batches that may be with the broker at once. */
const MAX_UNDER_WAY = 4;

export interface EventOutboxOptions {
  readonly hostname: string;
  /** Resolves with how many heard it, 0 = nobody; `null` where the broker cannot count. */
  broadcast(broadcast: Broadcast): Promise<number | null>;
  /** Told of each batch that was sent: how many heard it. */
  onSent(heard: number | null): void;
}

export class EventOutbox {
  /** Events thrown away since the start: there was no room, or the broker did not take them. */
  dropped = 0;
  readonly #options: EventOutboxOptions;
  /** Bounded by `MAX_WAITING` and `MAX_WAITING_CHARACTERS`. */
  #waiting: WireEvent[] = [];
  /** Those before it were sent. */
  #head = 0;
  #characters = 0;
  #underWay = 0;
  #scheduled = false;
  #idle: (() => void)[] = [];

  constructor(options: EventOutboxOptions) {
    this.#options = options;
  }

  get waiting(): number {
    return this.#waiting.length - this.#head;
  }

  /** Sends a task event, with others of this turn of the loop in one message. */
  add(event: WireEvent): void {
    const characters = charactersOf(event);
    const share = BEGINNINGS.has(event.type) ? 0.5 : 1;
    if (this.waiting >= MAX_WAITING * share || this.#characters + characters > MAX_WAITING_CHARACTERS * share) {
      this.dropped += 1;
      return;
    }
    this.#waiting.push(event);
    this.#characters += characters;
    this.#schedule();
  }

  /** Sends a worker event, alone, as Celery does. Resolves with who heard it, or rejects with the broker's error. */
  async sendAlone(event: WireEvent): Promise<number | null> {
    return this.#options.broadcast(encodeEvent(event));
  }

  /**
   * An array without events: every reader of Celery's accepts it, and the broker's answer tells whether anybody listens
   * to task events.
   */
  async probe(): Promise<number | null> {
    return this.#options.broadcast(encodeEventBatch([], { hostname: this.#options.hostname }));
  }

  /** Resolves when nothing waits and nothing is under way. */
  drained(): Promise<void> {
    if (this.waiting === 0 && this.#underWay === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /** Nobody listens: what waits is of no use to anybody, and does not count as dropped. */
  clear(): void {
    this.#waiting = [];
    this.#head = 0;
    this.#characters = 0;
    this.#rest();
  }

  #schedule(): void {
    if (this.#scheduled || this.#underWay >= MAX_UNDER_WAY) return;
    this.#scheduled = true;
    // After the events of this turn: they share a message, and tasks that have ended are settled first.
    setImmediate(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    while (this.waiting > 0 && this.#underWay < MAX_UNDER_WAY) {
      const batch = this.#next();
      this.#head += batch.length;
      for (const event of batch) this.#characters -= charactersOf(event);
      void this.#send(batch);
    }
    // In steps, so that a long list costs little per event.
    if (this.waiting === 0 || this.#head > MAX_WAITING / 4) {
      this.#waiting = this.#waiting.slice(this.#head);
      this.#head = 0;
    }
  }

  /** Those that go together: up to 24 of Celery's types, or one of a task's own, which has its own key. */
  #next(): readonly WireEvent[] {
    const most = this.#waiting.slice(this.#head, this.#head + EVENT_BATCH_SIZE);
    const own = most.findIndex(isOwn);
    return own < 0 ? most : most.slice(0, Math.max(own, 1));
  }

  async #send(batch: readonly WireEvent[]): Promise<void> {
    this.#underWay += 1;
    try {
      const [first] = batch;
      if (first && isOwn(first)) await this.sendAlone(first);
      else this.#options.onSent(await this.#options.broadcast(encodeEventBatch(batch, { hostname: this.#options.hostname })));
    } catch {
      // The broker is away or full, which its driver says; events are never tried again, because they would pile up.
      this.dropped += batch.length;
    } finally {
      this.#underWay -= 1;
      if (this.waiting > 0) this.#schedule();
      else this.#rest();
    }
  }

  #rest(): void {
    if (this.waiting === 0 && this.#underWay === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }
}

/** Sent by a task itself. */
function isOwn({ type }: WireEvent): boolean {
  return !Object.hasOwn(EVENT_TYPES, type);
}

/** Roughly what an event takes; only its texts can be long. */
function charactersOf(event: WireEvent): number {
  let sum = 200;
  for (const name in event) {
    const value = event[name];
    if (typeof value === 'string') sum += value.length;
  }
  return sum;
}
