/**
 * What one worker tells the cluster, and when: its heartbeats, and whether its task events are wanted. Celery's
 * EventDispatcher and Heart in one. The events of tasks are made by whoever runs tasks; `outbox.ts` sends them.
 *
 * On demand means: task events are sent while the broker says that somebody hears them. Every batch tells, and between
 * batches an empty one asks. So a monitor needs to do nothing but listen, and a worker that nobody watches costs the broker
 * two messages in 30 s. Why not by Celery's own signs: docs/decisions/events-on-demand.md.
 */
import { loadavg, type as systemName } from 'node:os';
import type { EventMode } from '../app/events/event-mode.js';
import type { Broadcast } from '../brokers/broker.js';
import { type Clock, utcOffset } from '../core/clock.js';
import { toError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import type { WireEvent } from '../wire/event-message.js';
import { EventOutbox } from './outbox.js';

/** Heartbeats while somebody listens, and else. Celery: always every two seconds. */
const WATCHED_MS = 2_000;
const UNWATCHED_MS = 30_000;
/** While there are no task events, the broker is asked this often whether the listeners are still there. */
const ASK_AGAIN_MS = 10_000;
/** And at every second heartbeat whether there are any: an idle worker may send ten commands a minute in all. */
const ASK_UNWATCHED_MS = 45_000;
/**
 * After the command `heartbeat`, while nobody is found: a receiver of Celery's sends it before it subscribes (on Redis only when
 * it first waits for messages), so an answer may come too early, by seconds on a busy machine.
 */
const ASK_NEWCOMER_MS: readonly number[] = [250, 500, 1_000, 2_000, 4_000];
/** After `enable_events` somebody is expected to come: so long nobody needs to listen yet. */
const EXPECTING_MS = 60_000;
const WARN_EVERY_MS = 60_000;

export interface EventDispatcherOptions {
  /** Node name. */
  readonly hostname: string;
  readonly mode: EventMode;
  /** Of this package. */
  readonly version: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The next value of the node's logical clock. */
  tick(): number;
  /** Resolves with how many heard it, 0 = nobody; `null` where the broker cannot count. */
  broadcast(broadcast: Broadcast): Promise<number | null>;
  /** For heartbeats. */
  counts(): { readonly active: number; readonly processed: number };
}

export class EventDispatcher {
  /** Whether task events are wanted now. Whoever makes them asks first: while it is false they cost nothing. */
  on: boolean;
  readonly #options: EventDispatcherOptions;
  readonly #outbox: EventOutbox;
  #mode: EventMode;
  #utcoffset = utcOffset();
  /** Monotonic time of the last answer about who listens to task events. */
  #answeredMs = Number.NEGATIVE_INFINITY;
  #expectingUntilMs = Number.NEGATIVE_INFINITY;
  #asking = false;
  #warnedMs = Number.NEGATIVE_INFINITY;
  #warnedOf = 0;
  #cancelTimer: (() => void) | null = null;
  #cancelNewcomer: (() => void) | null = null;
  /** Somebody may know of this worker, so its end is told too. */
  #introduced = false;
  #closed = false;

  constructor(options: EventDispatcherOptions) {
    this.#options = options;
    this.#mode = options.mode;
    this.on = options.mode === 'always';
    this.#outbox = new EventOutbox({
      hostname: options.hostname,
      broadcast: (broadcast) => options.broadcast(broadcast),
      onSent: (heard) => this.#heard(heard),
    });
  }

  /** How many events were thrown away since the start. */
  get dropped(): number {
    return this.#outbox.dropped;
  }

  /** Says that the worker is there. */
  start(): void {
    if (this.#mode === 'off') return;
    this.#tell('worker-online');
    this.#ask();
    this.#beatAgain();
  }

  /** An event of this node, as of now. */
  event(type: string, fields: Readonly<Record<string, unknown>>): WireEvent {
    return {
      hostname: this.#options.hostname,
      utcoffset: this.#utcoffset,
      pid: process.pid,
      clock: this.#options.tick(),
      ...fields,
      timestamp: this.#options.clock.nowMs() / 1_000,
      type,
    };
  }

  /** Sends a task event soon, or drops it. */
  add(event: WireEvent): void {
    if (this.on) this.#outbox.add(event);
  }

  /** The command `heartbeat`: whoever sends it listens, or is about to. */
  heartbeat(): void {
    if (this.#closed) return;
    this.#tell('worker-heartbeat');
    this.#ask();
    this.#expectNewcomer(0);
  }

  /** The command `enable_events`. `false`: they were on already. */
  enable(): boolean {
    const wasOn = this.on;
    this.#expectingUntilMs = this.#options.clock.monotonicMs() + EXPECTING_MS;
    // A worker that was told to be silent and now is not any more: from here on as Celery's, until it is told again.
    if (this.#mode === 'off') this.#mode = this.#options.mode === 'off' ? 'always' : this.#options.mode;
    this.#turn(true);
    return !wasOn;
  }

  /** The command `disable_events`: no task events until `enable_events`, whoever listens. `false`: none were sent anyway. */
  disable(): boolean {
    const wasOn = this.on;
    this.#expectingUntilMs = Number.NEGATIVE_INFINITY;
    this.#mode = 'off';
    this.#turn(false);
    return wasOn;
  }

  /** Sends what waits, and that the worker goes. Never rejects; the caller says how long it may take. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelTimer?.();
    this.#cancelNewcomer?.();
    await this.#outbox.drained();
    this.on = false;
    if (this.#introduced) await this.#outbox.sendAlone(this.#heartbeatEvent('worker-offline')).catch(() => null);
  }

  #turn(on: boolean): void {
    if (this.on === on) return;
    this.on = on;
    if (!on) this.#outbox.clear();
    if (this.#closed) return;
    // Told at once, with the new `freq`: else monitors would wait for the old one in vain and take the worker for dead.
    this.#tell('worker-heartbeat');
    this.#beatAgain();
  }

  #beatAgain(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = this.#options.clock.after(this.#beatMs(), () => this.#beat());
  }

  #beat(): void {
    this.#utcoffset = utcOffset();
    this.#tell('worker-heartbeat');
    const silentMs = this.#options.clock.monotonicMs() - this.#answeredMs;
    if (silentMs >= (this.on ? ASK_AGAIN_MS : ASK_UNWATCHED_MS)) this.#ask();
    this.#beatAgain();
    this.#warnOfDropped();
  }

  #beatMs(): number {
    return this.on ? WATCHED_MS : UNWATCHED_MS;
  }

  #tell(type: string): void {
    this.#introduced = true;
    // Who hears it says nothing about task events: Python workers listen to the heartbeats of each other.
    this.#outbox.sendAlone(this.#heartbeatEvent(type)).catch((error: unknown) => {
      this.#options.logger.debug({ error: toError(error).message }, `${type} could not be sent`);
    });
  }

  #heartbeatEvent(type: string): WireEvent {
    const { dropped } = this.#outbox;
    return this.event(type, {
      freq: this.#beatMs() / 1_000,
      ...this.#options.counts(),
      loadavg: loadavg().map((load) => Math.round(load * 100) / 100),
      sw_ident: 'lovage',
      sw_ver: this.#options.version,
      sw_sys: systemName(),
      ...(dropped > 0 ? { dropped_events: dropped } : {}),
    });
  }

  /** Asks the broker whether anybody listens to task events. */
  #ask(): void {
    if (this.#mode !== 'on-demand' || this.#asking) return;
    this.#asking = true;
    this.#outbox
      .probe()
      .then(
        (heard) => this.#heard(heard),
        (error: unknown) => this.#options.logger.debug({ error: toError(error).message }, 'could not ask who listens to events'),
      )
      .finally(() => {
        this.#asking = false;
      });
  }

  /** Asks a few times more until somebody listens; another command begins anew, so that many cost no more than one at a time. */
  #expectNewcomer(asked: number): void {
    this.#cancelNewcomer?.();
    this.#cancelNewcomer = null;
    const delayMs = ASK_NEWCOMER_MS[asked];
    if (delayMs === undefined || this.#mode !== 'on-demand') return;
    this.#cancelNewcomer = this.#options.clock.after(delayMs, () => {
      if (this.on) return;
      this.#ask();
      this.#expectNewcomer(asked + 1);
    });
  }

  #heard(heard: number | null): void {
    if (this.#mode !== 'on-demand') return;
    const nowMs = this.#options.clock.monotonicMs();
    this.#answeredMs = nowMs;
    if (heard !== 0) this.#turn(true);
    else if (nowMs >= this.#expectingUntilMs) this.#turn(false);
  }

  #warnOfDropped(): void {
    const { dropped } = this.#outbox;
    const nowMs = this.#options.clock.monotonicMs();
    if (dropped === this.#warnedOf || nowMs - this.#warnedMs < WARN_EVERY_MS) return;
    this.#options.logger.warn(
      { dropped: dropped - this.#warnedOf },
      'events were dropped: the broker takes them more slowly than they come; tasks are not held up',
    );
    this.#warnedMs = nowMs;
    this.#warnedOf = dropped;
  }
}
