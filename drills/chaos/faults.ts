/** Carries out the events of a timeline on real processes, and writes each into the ledger. One fault at a time a victim. */
import type { FaultProxy } from '../../tests/support/fault-proxy.js';
import type { ServerFaults } from '../harness/brokers.js';
import type { Ledger } from '../harness/ledger.js';
import { pause } from '../harness/wait.js';
import type { Fleet } from '../harness/workers.js';
import type { ChaosEvent, NetworkFault, Timed, Victim } from './timeline.js';

/** How long both ends of a connection may need to notice what happened to it: the lease, two heartbeats, and some. */
const NOTICED_MS = 12_000;

export interface FaultsOptions {
  readonly ledger: Ledger;
  readonly fleet: Fleet;
  readonly server: ServerFaults | null;
  /** A network for each victim; none for an embedded file. */
  readonly networks: ReadonlyMap<Victim, FaultProxy>;
}

export class Faults {
  /** Events carried out, by kind. */
  readonly done = new Map<string, number>();
  readonly #options: FaultsOptions;
  readonly #busy = new Set<Victim | 'broker'>();
  readonly #running = new Set<Promise<void>>();

  constructor(options: FaultsOptions) {
    this.#options = options;
  }

  /** Plays the timeline until `isOver`; resolves when everything has been healed. */
  async play(timeline: Iterable<Timed>, isOver: () => boolean): Promise<void> {
    for (const { afterMs, event } of timeline) {
      await pause(afterMs);
      if (isOver()) break;
      this.#begin(event);
    }
    await Promise.all(this.#running);
  }

  #begin(event: ChaosEvent): void {
    const victim = event.kind === 'network' ? event.victim : 'worker' in event ? event.worker : 'broker';
    // Who suffers already is left alone: a stopped process cannot be stopped again.
    if (this.#busy.has(victim)) return;
    if (typeof victim === 'number' && !this.#options.fleet.alive().includes(victim)) return;
    const name = event.kind === 'network' ? `network ${event.fault.how}` : event.kind;
    this.done.set(name, (this.done.get(name) ?? 0) + 1);
    this.#busy.add(victim);
    const run = this.#carryOut(event).finally(() => {
      this.#busy.delete(victim);
      this.#running.delete(run);
    });
    this.#running.add(run);
  }

  async #carryOut(event: ChaosEvent): Promise<void> {
    const { fleet } = this.#options;
    switch (event.kind) {
      case 'kill':
        return fleet.kill(event.worker);
      case 'deploy':
        await fleet.deploy(event.worker);
        return;
      case 'stop':
        fleet.stop(event.worker);
        await pause(event.forMs);
        return fleet.continue(event.worker);
      case 'network':
        return this.#breakNetwork(event.victim, event.fault, event.forMs);
      default:
        return this.#breakBroker(event.kind, event.forMs);
    }
  }

  async #breakNetwork(victim: Victim, fault: NetworkFault, forMs: number): Promise<void> {
    const proxy = this.#options.networks.get(victim);
    if (!proxy) return;
    const fromMs = Date.now();
    if (fault.how === 'halfOpen') proxy.halfOpen(fault.lost);
    else if (fault.how === 'slow') proxy.slow(fault.bytesPerSecond);
    else if (fault.how === 'delay') proxy.delay(fault.delayMs);
    else if (fault.how === 'cutAfter') proxy.cutAfter(fault.bytes);
    else proxy[fault.how]();
    await pause(fault.how === 'reset' ? 0 : forMs);
    await proxy.pass();
    const target = victim === 'sender' ? 'sender' : `network:w${victim + 1}`;
    this.#options.ledger.fault({ kind: fault.how, target, fromMs, toMs: Date.now() + NOTICED_MS });
  }

  async #breakBroker(kind: 'broker-kill' | 'broker-pause', forMs: number): Promise<void> {
    const { server, ledger } = this.#options;
    if (!server) return;
    const fromMs = Date.now();
    if (kind === 'broker-kill') {
      await server.kill9();
      await pause(forMs);
      await server.restart();
    } else {
      server.pause();
      await pause(forMs);
      server.resume();
    }
    ledger.fault({ kind, target: 'broker', fromMs, toMs: Date.now() + NOTICED_MS });
  }
}
