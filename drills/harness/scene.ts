/**
 * One scene of a drill: a queue, a ledger, a sender and worker processes of its own on the drill's broker, and the claims
 * that every scene makes. A drill may play several scenes on one broker.
 */
import { join } from 'node:path';
import type { DrillBroker } from './brokers.js';
import type { Bound, Measured } from './claims.js';
import { type Accounted, judge, type Verdict } from './judge.js';
import { Ledger } from './ledger.js';
import { Sender } from './sender.js';
import { untilOrStuck } from './wait.js';
import { Fleet, type FleetOptions } from './workers.js';

/** What a drill gets: see `runner.ts`. */
export interface Kit {
  readonly broker: DrillBroker;
  /** `quick` for CI, `full` for the page. Both assert the same claims. */
  readonly size: 'quick' | 'full';
  readonly random: import('./random.js').Random;
  readonly folder: string;
  claim(sentence: string, measured: Measured | null, bound: Bound, unit?: string): void;
  /** A number worth showing that promises nothing. */
  figure(name: string, value: number | string, unit?: string): void;
  /** A remark for whoever watches. */
  say(text: string): void;
}

export type SceneFleet = Partial<FleetOptions> & { readonly count: number };

const nothingMore = async (): Promise<Accounted> => ({});

export class Scene {
  readonly queue: string;
  readonly ledger: Ledger;
  readonly sender: Sender;
  readonly lease: string;
  readonly #kit: Kit;
  readonly #fleets: Fleet[] = [];

  constructor(kit: Kit, queue: string, lease: string) {
    this.#kit = kit;
    this.queue = queue;
    this.lease = lease;
    this.ledger = new Ledger(join(kit.folder, `${queue}.ledger`));
    this.sender = new Sender({ ...kit.broker, queue, ledger: this.ledger });
  }

  /** Starts workers and waits until they are ready. */
  async fleet(options: SceneFleet): Promise<Fleet> {
    const { broker, folder } = this.#kit;
    const urls = (): { broker: string; results: string } => ({ broker: broker.brokerUrl, results: broker.resultUrl });
    const fleet = new Fleet({ folder, ledger: this.ledger, queue: this.queue, lease: this.lease, urls, ...options });
    this.#fleets.push(fleet);
    await fleet.ready();
    return fleet;
  }

  /** Ids of this scene's tasks that stand in the dead letters. */
  async parked(ids: Iterable<string> = this.ledger.read().sent.keys()): Promise<Set<string>> {
    const texts = await this.#kit.broker.deadTexts();
    return new Set(texts.length === 0 ? [] : [...ids].filter((id) => texts.some((text) => text.includes(id))));
  }

  /**
   * Waits until every task that was sent has run to its end or is accounted for, or until nothing has
   * happened for `idleMs`. The ledger is judged either way. `more` tells how else tasks may have ended, beside the dead
   * letters; `totalMs` ends what fails and begins anew for ever.
   */
  async settled(idleMs: number, more = nothingMore, totalMs = 600_000): Promise<Verdict> {
    const { ledger } = this;
    const { name } = this.#kit.broker;
    // A worker's first retry on RabbitMQ waits for the delay ladder: some hundred declarations, seconds on a busy machine.
    const options = { oneWriter: name === 'file', ...(name === 'rabbitmq' && { settleMs: 5_000 }) };
    const account = async (): Promise<Accounted> => {
      const view = ledger.read();
      const open = [...view.sent.keys()].filter((id) => !view.executed.has(id));
      return { parked: await this.parked(open), ...(await more()) };
    };
    let verdict: Verdict | null = null;
    await untilOrStuck(
      async () => {
        const view = ledger.read();
        // Dead letters are looked at only for the last few: each look costs the broker a command.
        if (view.sent.size - view.executed.size > 200) return false;
        verdict = judge(view, view.executed.size >= view.sent.size ? {} : await account(), options);
        return verdict.lost.length === 0;
      },
      () => ledger.read().lines,
      { idleMs, totalMs },
    );
    const receipts = new Map(this.#fleets.flatMap((fleet) => [...fleet.receipts()]));
    verdict = judge(ledger.read(), await account(), { ...options, receipts });
    if (verdict.lost.length > 0) {
      this.#kit.say(`lost: ${verdict.lost.slice(0, 20).join(' ')}`);
      for (const fleet of this.#fleets) this.#kit.say(fleet.tails());
    }
    for (const run of verdict.unexplained.slice(0, 10)) {
      const runs = ledger.read().runs.get(run.id) ?? [];
      this.#kit.say(
        `unexplained: ${run.id} ${runs.map((one) => `${one.worker}#${one.attempt} ${one.startMs}-${one.endMs}`).join(', ')}`,
      );
    }
    return verdict;
  }

  /** The claims that hold in every scene. */
  claimNothingLost(name: string, verdict: Verdict): void {
    const { claim } = this.#kit;
    claim(`${name}: tasks lost`, verdict.lost.length, { equals: 0 });
    claim(`${name}: tasks that ran without having been sent`, verdict.strangers.length, { equals: 0 });
    claim(
      `${name}: sent = executed + parked + expired + revoked`,
      verdict.executed + verdict.parked + verdict.expired + verdict.revoked,
      {
        equals: verdict.sent,
      },
    );
    claim(`${name}: repeated runs that no fault explains`, verdict.unexplained.length, { equals: 0 });
  }

  async close(): Promise<void> {
    await Promise.all(this.#fleets.map((fleet) => fleet.close()));
    await this.sender.close();
    this.ledger.close();
  }
}
