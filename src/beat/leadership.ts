/**
 * Who leads, of any number of schedulers. The leader gives a sign of life every second or so; a standby that hears none for the length of
 * a lease, by its own monotonic clock, takes the lead over. No clock is compared with another's, so none that is set disturbs it. That two
 * may believe to lead for a moment is allowed for: the store refuses the older one (`BeatStore.fire`). Asks the store nothing while all is well.
 */
import type { Clock } from '../core/clock.js';
import { toError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import type { BeatStore, Lead } from './beat-store.js';

/** How long a leader may be silent. With the jitter and the way to the store a take-over takes less than five seconds. */
export const LEASE_MS = 3_500;
/** Between two signs of life: 48 a minute. */
export const BEAT_MS = 1_250;
const RETRY_MS = 500;

export interface LeadershipOptions {
  readonly store: BeatStore;
  readonly owner: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly leaseMs: number;
  readonly beatMs: number;
  /** 0 up to 1: keeps standbys from reaching for the lead all at once. */
  readonly random: () => number;
  /** Called when the lead is taken (with its epoch) or lost (`null`). */
  readonly onChange: (epoch: number | null) => void;
  /** Called once, when it turns out that another one leads. */
  readonly onStandby: (owner: string) => void;
}

export class Leadership {
  readonly #options: LeadershipOptions;
  #known: Lead = { owner: null, epoch: 0 };
  #mine: number | null = null;
  #heardMs = 0;
  #isUp = false;
  #asking = false;
  #askAgain = false;
  #toldStandby = false;
  #isClosed = false;
  #cancel: (() => void) | null = null;

  constructor(options: LeadershipOptions) {
    this.#options = options;
  }

  /** The epoch in which we lead, as far as is known. */
  get epoch(): number | null {
    return this.#mine;
  }

  /** Nothing is missed from now on. */
  up(): void {
    this.#isUp = true;
    this.#heardMs = this.#options.clock.monotonicMs();
    this.#ask();
  }

  /** Signs are missed now, so silence means nothing. */
  down(): void {
    this.#isUp = false;
  }

  /** A sign of life, or a change of hands. */
  hear(lead: Lead): void {
    if (this.#isClosed || lead.epoch < this.#known.epoch) return;
    this.#heardMs = this.#options.clock.monotonicMs();
    this.#note(lead);
    if (lead.owner === null) this.#ask();
    else if (this.#mine === null) this.#arm();
  }

  /** The store has refused us. */
  refused(): void {
    this.#lose();
    this.#ask();
  }

  /** Gives the lead back, so that the next one need not wait for the silence. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancel?.();
    const mine = this.#mine;
    this.#mine = null;
    if (mine !== null) await this.#options.store.resign({ owner: this.#options.owner, epoch: mine });
  }

  #note(lead: Lead): void {
    const { owner } = this.#options;
    this.#known = lead;
    if (this.#mine !== null && (lead.owner !== owner || lead.epoch !== this.#mine)) this.#lose();
    if (lead.owner === null || lead.owner === owner || this.#toldStandby || this.#isClosed) return;
    this.#toldStandby = true;
    this.#options.onStandby(lead.owner);
  }

  #lose(): void {
    if (this.#mine === null) return;
    this.#mine = null;
    this.#options.onChange(null);
  }

  #arm(): void {
    this.#cancel?.();
    this.#cancel = null;
    if (this.#isClosed) return;
    const { clock, leaseMs, beatMs, random } = this.#options;
    if (this.#mine !== null) {
      this.#cancel = clock.after(beatMs, () => void this.#beat());
      return;
    }
    const silentMs = clock.monotonicMs() - this.#heardMs;
    const leftMs = Math.max(0, leaseMs - silentMs) + random() * (leaseMs / 10);
    this.#cancel = clock.after(leftMs, () => this.#silence());
  }

  #silence(): void {
    const { clock, leaseMs } = this.#options;
    // A timer that was held up (SIGSTOP, a blocked loop) may have signs of life waiting behind it.
    setImmediate(() => {
      if (this.#isClosed || this.#mine !== null) return;
      if (this.#isUp && clock.monotonicMs() - this.#heardMs >= leaseMs) this.#ask(true);
      else this.#arm();
    });
  }

  async #beat(): Promise<void> {
    const epoch = this.#mine;
    if (epoch === null) return;
    try {
      await this.#options.store.beat({ owner: this.#options.owner, epoch });
    } catch (error) {
      this.#options.logger.debug({ cause: toError(error).message }, 'beat: a sign of life was not sent');
    }
    if (this.#mine === epoch) this.#arm();
  }

  /** Looks who leads, and takes the lead if nobody does. @param force also if somebody does, who is silent */
  #ask(force = false): void {
    if (this.#isClosed || !this.#isUp) return;
    if (this.#asking) {
      this.#askAgain = true;
      return;
    }
    this.#asking = true;
    void this.#askOnce(force).then((again) => {
      this.#asking = false;
      if (this.#isClosed) return;
      if (this.#askAgain) {
        this.#askAgain = false;
        this.#ask();
      } else if (again) {
        this.#cancel?.();
        this.#cancel = this.#options.clock.after(RETRY_MS, () => this.#ask(force));
      } else this.#arm();
    });
  }

  /** Resolves with whether to try again soon. */
  async #askOnce(force: boolean): Promise<boolean> {
    const { store, owner, logger } = this.#options;
    try {
      const heardMs = this.#heardMs;
      let lead = await store.lead();
      const isFree = lead.owner === null || lead.owner === owner;
      // Another epoch than the silent one: somebody was quicker. A sign that came meanwhile: it lives.
      const isSilent = force && lead.epoch === this.#known.epoch && heardMs === this.#heardMs;
      if (this.#mine !== null && lead.owner === owner && lead.epoch === this.#mine) return false;
      if (!this.#isClosed && (isFree || isSilent)) lead = await store.takeLead(owner, lead.epoch);
      this.#lose();
      // From here on it is known, so silence counts from here on.
      this.#heardMs = this.#options.clock.monotonicMs();
      if (lead.owner === owner && !this.#isClosed) this.#mine = lead.epoch;
      this.#note(lead);
      if (this.#mine === null) return false;
      this.#toldStandby = false;
      this.#options.onChange(this.#mine);
      return false;
    } catch (error) {
      logger.debug({ cause: toError(error).message }, 'beat: who leads could not be asked');
      return true;
    }
  }
}
