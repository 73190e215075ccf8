/**
 * What a driver gives to the broker suite, and how the suite names what a driver cannot do. Next stop: one of the
 * sections beside this file (`publishing.ts`, `consuming.ts`, …).
 */
import { describe, expect, test } from 'vitest';
import type { Broker, BrokerCapabilities } from '../../brokers/broker.js';
import { until } from './broker-kit.js';

/** A parked message as the driver keeps it. */
export interface ParkedEntry {
  readonly queue: string;
  readonly code: string;
  readonly reason: string;
  /** Garbage exactly as it came; of a message whatever holds its body, as it is, JSON-escaped or in base64. */
  readonly raw: Uint8Array;
}

/**
 * A broker to try, made anew for each test. Queue names are unique, so fixtures may share a server. Tests that wait for
 * the clock run side by side, each with its fixture; what may hit the fixtures of others (`loseDeliveries`,
 * `breakConnections`, `outage`, `restart`) is called only in tests that run alone.
 */
export interface BrokerFixture {
  readonly broker: Broker;
  /** Another connection to the same queues, of the same role, as another process would have it. `close` closes it too. */
  another(): Promise<Broker>;
  /** Puts something into a queue that the driver must not take for a message. */
  putRaw(queue: string, bytes: Uint8Array): Promise<void>;
  /** Everything parked so far; the suite picks its own by the queue. */
  dead(): Promise<readonly ParkedEntry[]>;
  /** Ends a connection as `kill -9` of its process would: nothing is handed back, renewed or connected again. */
  crash(broker: Broker): Promise<void>;
  /**
   * Takes every delivery that is out away from its holder, who lives on: as a pause longer than the lease does, or a
   * channel that the broker closes. They count as held by a worker that died.
   */
  loseDeliveries(): Promise<void>;
  /** Cuts all connections once; they can come back at once. Gap `connections` where there are none. */
  breakConnections?(): Promise<void>;
  /** Makes the broker answer nothing until the returned function is called. Gap `outage` where that cannot be. */
  outage?(): Promise<() => Promise<void>>;
  /** Stops the broker hard and starts it again, with all connections open. Gap `restart` where that cannot be. */
  restart?(): Promise<void>;
  close(): Promise<void>;
}

const FIXTURE_GAPS = {
  connections: 'breakConnections',
  outage: 'outage',
  restart: 'restart',
} as const;

/** `grant-before-settle`: granted credit is used only once a delivery is settled. */
type SuiteGap = keyof typeof FIXTURE_GAPS | 'grant-before-settle';

/** Something that the driver cannot do, and why; printed in the name of the test that shows it. */
export interface BrokerGap {
  readonly capability: keyof BrokerCapabilities | SuiteGap;
  readonly why: string;
}

export interface BrokerConformanceOptions {
  readonly gaps: readonly BrokerGap[];
  /** The lease of the recovery tests. Default 900 ms. */
  readonly leaseMs?: number;
  /** The longest wait for something that must happen. Default 10,000 ms. */
  readonly patienceMs?: number;
}

/** What every section of the suite works with. */
export interface BrokerSuite {
  readonly leaseMs: number;
  readonly patienceMs: number;
  /** A test with a fixture of its own. */
  it(title: string, body: (fixture: BrokerFixture) => Promise<void>, timeoutMs?: number): void;
  /** The same for what a gap may excuse: then `otherwise` runs, or a check that the driver owns up to it. */
  can(
    capability: BrokerGap['capability'],
    title: string,
    body: (fixture: BrokerFixture) => Promise<void>,
    otherwise?: (fixture: BrokerFixture) => Promise<void>,
  ): void;
}

/** Makes the tools of the sections and registers the test that compares gaps with declarations. */
export function defineBrokerSuite(open: () => Promise<BrokerFixture>, options: BrokerConformanceOptions): BrokerSuite {
  const gaps = new Map(options.gaps.map((gap) => [gap.capability, gap.why]));
  const it: BrokerSuite['it'] = (title, body, timeoutMs) => {
    test(title, { timeout: timeoutMs ?? 30_000 }, async () => {
      const fixture = await open();
      try {
        await body(fixture);
      } finally {
        await fixture.close();
      }
    });
  };

  describe('capabilities', () => {
    it('declares exactly what it cannot do, with a reason for people', async ({ broker }) => {
      const { capabilities } = broker;
      for (const [capability, value] of Object.entries(capabilities)) {
        if (!gaps.has(capability as BrokerGap['capability'])) expect(value, capability).toBe(true);
        else expect(value, `${capability} is named as a gap`).toEqual(expect.stringMatching(/\S+ \S+/));
      }
      expect(broker.name).toMatch(/^[a-z]+$/);
    });
  });

  return {
    leaseMs: options.leaseMs ?? 900,
    patienceMs: options.patienceMs ?? 10_000,
    it,
    can(capability, title, body, otherwise) {
      const why = gaps.get(capability);
      if (why === undefined) return it(title, body);
      return it(`${title} [gap ${capability}: ${why}]`, otherwise ?? ((fixture) => expectGap(fixture, capability)));
    },
  };
}

/** A gap that the driver does not own up to is a failure. */
async function expectGap(fixture: BrokerFixture, capability: BrokerGap['capability']): Promise<void> {
  if (capability in FIXTURE_GAPS) {
    expect(fixture[FIXTURE_GAPS[capability as keyof typeof FIXTURE_GAPS]]).toBeUndefined();
    return;
  }
  expect(fixture.broker.capabilities[capability as keyof BrokerCapabilities]).not.toBe(true);
}

/** The reason that the suite parks with. */
export const PARK_REASON = { code: 'E_DECODE', reason: 'the suite says so: "naïve"' } as const;

/** Everything parked on a broker, oldest first, as its dead letters show it. Reads each: for brokers that find a letter by its id. */
export async function parkedEntries({ deadLetters }: Broker): Promise<ParkedEntry[]> {
  const entries: ParkedEntry[] = [];
  for (let cursor: string | null = null; ; ) {
    const { letters, next } = await deadLetters.list({ cursor });
    for (const { id } of letters) {
      const content = await deadLetters.get(id);
      if (content) entries.push({ ...content.letter, raw: content.raw });
    }
    if (next === null) return entries.reverse();
    cursor = next;
  }
}

/** Parked entries of one queue, waited for. */
export async function parked(fixture: BrokerFixture, queue: string, count: number): Promise<readonly ParkedEntry[]> {
  let entries: readonly ParkedEntry[] = [];
  await until(
    async () => {
      entries = (await fixture.dead()).filter((entry) => entry.queue === queue);
      return entries.length >= count;
    },
    () => `${count} parked entries, there are ${entries.length}`,
  );
  expect(entries).toHaveLength(count);
  return entries;
}
