/**
 * What one consumer holds: tags, the rows behind them, and until when its lease is sure by the monotonic clock. Turns
 * popped rows into arrivals and settlements into one argument for the database. No I/O.
 */
import { systemClock } from '../../core/clock.js';
import { WireError } from '../../core/errors.js';
import type { Arrival, Settlement, SettleResult } from '../broker.js';
import { deadFacts } from '../dead-letters.js';
import type { DeferRow, ParkRow, PoppedRow, SettleArgument } from './call-types.js';
import { rankOf } from './rank.js';
import { decodeRow, encodeBody, encodeHead, rawBytes } from './row-message.js';

/** One row of `claims`; it goes with the last of its messages. */
interface Claim {
  readonly id: number;
  left: number;
}

interface Held {
  readonly id: number;
  readonly claim: Claim;
}

/** What `take` found. */
export interface Taken {
  /** `null`: nothing of it is held any more. */
  readonly argument: SettleArgument | null;
  /** As it will be if the database agrees. */
  readonly results: readonly SettleResult[];
  /** Something in it must not be lost with the power. */
  readonly durable: boolean;
  /** To be called once it is settled. */
  release(): void;
}

export class Holdings {
  /** The holder row of our claims; `null` before the first delivery and after a loss. */
  holder: number | null = null;
  readonly #name: string;
  readonly #leaseMs: number;
  readonly #held = new Map<string, Held>();
  #sureUntilMs = 0;
  #tagCount = 0;
  /** Settlements on their way: their holder is still needed. */
  #settling = 0;

  constructor(name: string, leaseMs: number) {
    this.#name = name;
    this.#leaseMs = leaseMs;
  }

  /** Deliveries that are out or being settled: while there are any, the lease is renewed. */
  get size(): number {
    return this.#held.size + this.#settling;
  }

  has(tag: string): boolean {
    return this.#held.has(tag);
  }

  /** What the database calls this delivery, while it is held. */
  placeOf(tag: string): { readonly holder: number; readonly id: number } | null {
    const held = this.#held.get(tag);
    return held && this.holder !== null ? { holder: this.holder, id: held.id } : null;
  }

  /** Whether nobody can have taken over: by the monotonic clock, counted from before the last renewal. */
  isSure(): boolean {
    return systemClock.monotonicMs() < this.#sureUntilMs;
  }

  /** Takes popped rows in. A pop renews a lease that has run for more than a third, so two thirds of it are sure. */
  add(holder: number, rows: readonly PoppedRow[], startedMs: number): Arrival[] {
    this.#sureUntilMs =
      holder === this.holder ? Math.max(this.#sureUntilMs, startedMs + (this.#leaseMs * 2) / 3) : startedMs + this.#leaseMs;
    this.holder = holder;
    let claim: Claim = { id: -1, left: 0 };
    return rows.map((row) => {
      if (row.claim !== claim.id) claim = { id: row.claim, left: 0 };
      claim.left += 1;
      this.#tagCount += 1;
      const tag = `${this.#name}:${holder}:${this.#tagCount}`;
      this.#held.set(tag, { id: row.id, claim });
      return toArrival(row, tag);
    });
  }

  renewed(holder: number, startedMs: number): void {
    if (holder === this.holder) this.#sureUntilMs = startedMs + this.#leaseMs;
  }

  /** Everything of that holder is gone; tells the tags. */
  lose(holder: number): string[] {
    if (holder !== this.holder) return [];
    const tags = [...this.#held.keys()];
    this.clear();
    return tags;
  }

  clear(): void {
    this.#held.clear();
    this.holder = null;
    this.#sureUntilMs = 0;
  }

  /** Takes the settled ones out, so that nothing is settled twice. */
  take(settlements: readonly Settlement[]): Taken {
    const acks: number[] = [];
    const fronts: number[] = [];
    const backs: number[] = [];
    const defers: DeferRow[] = [];
    const parks: ParkRow[] = [];
    const claims: number[] = [];
    let durable = false;
    const results = settlements.map((settlement): SettleResult => {
      const { tag } = settlement.arrival;
      const held = this.#held.get(tag);
      if (!held) return 'lost';
      this.#held.delete(tag);
      held.claim.left -= 1;
      if (held.claim.left === 0) claims.push(held.claim.id);
      const { id } = held;
      if (settlement.kind === 'ack') acks.push(id);
      else if (settlement.kind === 'requeue') (settlement.where === 'front' ? fronts : backs).push(id);
      else {
        durable = true;
        if (settlement.kind === 'park')
          parks.push({ id, facts: JSON.stringify(deadFacts(settlement.arrival, settlement.reason, this.#name)) });
        else defers.push(toDefer(id, settlement));
      }
      return 'held';
    });
    const count = acks.length + fronts.length + backs.length + defers.length + parks.length;
    if (this.holder === null || count === 0)
      return { argument: null, results: results.map(() => 'lost'), durable, release: () => {} };
    this.#settling += count;
    return {
      argument: { holder: this.holder, acks, fronts, backs, defers, parks, claims },
      results,
      durable,
      release: () => {
        this.#settling -= count;
      },
    };
  }
}

function toDefer(id: number, { untilMs, message, to }: Extract<Settlement, { readonly kind: 'defer' }>): DeferRow {
  const { priority } = message?.properties ?? {};
  return {
    id,
    untilMs: toDueMs(untilMs),
    queue: to?.queue ?? null,
    successor: message
      ? {
          rank: priority === undefined ? null : rankOf(priority),
          head: encodeHead(message, undefined),
          body: encodeBody(message.body),
        }
      : null,
  };
}

/** A time as the database keeps it; one that is no time at all is due at once, rather than never. */
export function toDueMs(ms: number | undefined): number {
  if (ms === undefined || !(ms > 0)) return 0;
  return Math.ceil(Math.min(ms, Number.MAX_SAFE_INTEGER));
}

function toArrival({ queue, head, body, seen, losses }: PoppedRow, tag: string): Arrival {
  const message = decodeRow(head, body);
  if (message instanceof WireError) return { kind: 'garbage', tag, queue, raw: rawBytes(head, body), fault: message };
  return { kind: 'delivery', tag, queue, message, redelivered: seen, losses };
}
