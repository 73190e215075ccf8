/**
 * What the chaos rig does, and when: drawn from the seed alone, so that a seed plays the same faults again. (Who has which
 * task at that moment is up to the machine; the ledger, not the timeline, says what came of it.) Pure.
 */
import type { BrokerName } from '../harness/brokers.js';
import type { Random } from '../harness/random.js';

export const WORKERS = 3;

/** How a network fails; the words are those of `fault-proxy.ts`. */
export type NetworkFault =
  | { readonly how: 'reset' | 'refuse' | 'blackHole' | 'stall' }
  | { readonly how: 'halfOpen'; readonly lost: 'from-server' | 'to-server' }
  | { readonly how: 'slow'; readonly bytesPerSecond: number }
  | { readonly how: 'delay'; readonly delayMs: number }
  | { readonly how: 'cutAfter'; readonly bytes: number };

/** Whose network: a worker's by its index, or the sender's. */
export type Victim = number | 'sender';

export type ChaosEvent =
  | { readonly kind: 'kill' | 'deploy'; readonly worker: number }
  | { readonly kind: 'stop'; readonly worker: number; readonly forMs: number }
  | { readonly kind: 'network'; readonly victim: Victim; readonly fault: NetworkFault; readonly forMs: number }
  | { readonly kind: 'broker-kill' | 'broker-pause'; readonly forMs: number };

export interface Timed {
  /** After the event before it. */
  readonly afterMs: number;
  readonly event: ChaosEvent;
}

function networkFault(random: Random): NetworkFault {
  const how = random.pick(['reset', 'refuse', 'blackHole', 'stall', 'halfOpen', 'slow', 'delay', 'cutAfter'] as const);
  if (how === 'halfOpen') return { how, lost: random.pick(['from-server', 'to-server'] as const) };
  if (how === 'slow') return { how, bytesPerSecond: random.pick([1, 100, 20_000]) };
  if (how === 'delay') return { how, delayMs: random.between(20, 300) };
  if (how === 'cutAfter') return { how, bytes: random.between(1, 20_000) };
  return { how };
}

/** Events without end, until the rig has had enough of them. */
export function* timeline(random: Random, broker: BrokerName): Generator<Timed, never> {
  const withServer = broker !== 'file';
  for (;;) {
    const afterMs = random.between(200, 1_500);
    const worker = random.between(0, WORKERS - 1);
    // A process dies more often than a broker; an embedded file has neither server nor network.
    const draw = random.next() * (withServer ? 1 : 0.55);
    if (draw < 0.25) yield { afterMs, event: { kind: 'kill', worker } };
    else if (draw < 0.45) yield { afterMs, event: { kind: 'stop', worker, forMs: random.between(500, 8_000) } };
    else if (draw < 0.55) yield { afterMs, event: { kind: 'deploy', worker } };
    else if (draw < 0.9) {
      const victim = random.next() < 0.2 ? 'sender' : worker;
      yield { afterMs, event: { kind: 'network', victim, fault: networkFault(random), forMs: random.between(500, 6_000) } };
    } else if (draw < 0.95) yield { afterMs, event: { kind: 'broker-kill', forMs: random.between(0, 2_000) } };
    else yield { afterMs, event: { kind: 'broker-pause', forMs: random.between(500, 5_000) } };
  }
}

/** One task of the rig. */
export interface Planned {
  readonly task: string;
  readonly args: readonly number[];
  readonly options?: { readonly expires?: `${number}ms`; readonly countdown?: `${number}ms` };
}

/** The tasks, in the order in which they are sent: most are small, some fail, wait, expire or block, one kills its process. */
export function plannedTasks(random: Random, count: number): Planned[] {
  const killer = random.between(Math.floor(count / 4), Math.floor(count / 2));
  return Array.from({ length: count }, (_, index): Planned => {
    const draw = random.next();
    const ms = random.between(0, 60);
    if (index === killer) return { task: 'drill.killer', args: [random.between(0, 200)] };
    // Longer than the lease: whoever renews it must not sit on the same loop.
    if (index % 1_000 === 500) return { task: 'drill.block', args: [4_000] };
    if (draw < 0.05) return { task: 'drill.flaky', args: [random.between(1, 3)] };
    if (draw < 0.07) return { task: 'drill.block', args: [random.between(20, 300)] };
    if (draw < 0.1) return { task: 'drill.append', args: [ms], options: { expires: `${random.between(1, 4_000)}ms` } };
    if (draw < 0.13) return { task: 'drill.append', args: [ms], options: { countdown: `${random.between(1, 4_000)}ms` } };
    return { task: 'drill.append', args: [ms] };
  });
}
