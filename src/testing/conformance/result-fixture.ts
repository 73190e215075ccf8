/** What a driver gives to the result-store suite, and the suite's tools. */
import { randomUUID } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { ResultStore, ResultStoreCapabilities, ResultWrite, WriteResult } from '../../results/result-store.js';
import { until } from './broker-kit.js';

/** A store to try, made anew for each test. Ids are unique, so fixtures may share a server. */
export interface ResultStoreFixture {
  /** The sender's: waits and reads. */
  readonly store: ResultStore;
  /** Another connection to the same results, as a worker's process would have it. `close` closes it too. */
  another(): Promise<ResultStore>;
  /** How many waits are still registered anywhere: map entries, subscriptions, listeners of our own. */
  openWaits(): Promise<number>;
  /** Cuts all connections once; they can come back at once. Gap `connections` where there are none. */
  breakConnections?(): Promise<void>;
  close(): Promise<void>;
}

/** Something that the store cannot do, and why; printed in the name of the test that shows it. */
export interface ResultStoreGap {
  /** `ttl`: results are kept for a time of the store's own choosing. */
  readonly capability: keyof ResultStoreCapabilities | 'connections' | 'ttl';
  readonly why: string;
}

export interface ResultStoreConformanceOptions {
  readonly gaps: readonly ResultStoreGap[];
  /** The longest wait for something that must happen. Default 10,000 ms. */
  readonly patienceMs?: number;
}

/** Writes as a worker makes them for a sender. */
export interface Writer {
  readonly store: ResultStore;
  write(id: string, state: string, extra?: Partial<ResultWrite>): Promise<WriteResult>;
  writeAll(
    writes: readonly (readonly [id: string, state: string, extra?: Partial<ResultWrite>])[],
  ): Promise<readonly WriteResult[]>;
  /** Resolves once the sender's store has everything that was written before. */
  arrived(): Promise<void>;
}

export interface ResultSuite {
  readonly patienceMs: number;
  has(capability: ResultStoreGap['capability']): boolean;
  it(title: string, body: (fixture: ResultStoreFixture) => Promise<void>): void;
  can(
    capability: ResultStoreGap['capability'],
    title: string,
    body: (fixture: ResultStoreFixture) => Promise<void>,
    otherwise?: (fixture: ResultStoreFixture) => Promise<void>,
  ): void;
}

export function uniqueId(label: string): string {
  return `${label}-${randomUUID()}`;
}

/** A meta as Celery writes it; a store takes it for text. */
export function meta(id: string, state: string, result: unknown = null): string {
  return JSON.stringify({
    status: state,
    result,
    traceback: null,
    children: [],
    date_done: '2026-01-01T00:00:00.000000+00:00',
    task_id: id,
  });
}

/** A store that writes on a connection of its own, to the sender's reply queue if it has one. */
export async function openWriter(fixture: ResultStoreFixture): Promise<Writer> {
  const replyTo = await fixture.store.prepare();
  const store = await fixture.another();
  const toWrite = (id: string, state: string, extra: Partial<ResultWrite> = {}): ResultWrite => ({
    id,
    state,
    meta: meta(id, state),
    epoch: 0,
    ttlMs: 600_000,
    replyTo,
    correlationId: id,
    ...extra,
  });
  const writeAll: Writer['writeAll'] = (writes) => store.set(writes.map(([id, state, extra]) => toWrite(id, state, extra)));
  return {
    store,
    writeAll,
    async write(id, state, extra) {
      const [result] = await writeAll([[id, state, extra]]);
      if (result === undefined) throw new Error('set() gave no result for a write');
      return result;
    },
    async arrived() {
      const mark = uniqueId('mark');
      await writeAll([[mark, 'SUCCESS']]);
      await expectStored(fixture.store, mark, meta(mark, 'SUCCESS'));
    },
  };
}

/** Insists that the store comes to give this meta. */
export async function expectStored(store: ResultStore, id: string, expected: string | null, patienceMs = 10_000): Promise<void> {
  let seen: string | null | undefined;
  await until(
    async () => {
      [seen] = await store.get([id]);
      return seen === expected;
    },
    () => `result ${id} to be ${String(expected).slice(0, 200)}, it is ${String(seen).slice(0, 200)}`,
    patienceMs,
  );
}

export function defineResultSuite(open: () => Promise<ResultStoreFixture>, options: ResultStoreConformanceOptions): ResultSuite {
  const gaps = new Map(options.gaps.map((gap) => [gap.capability, gap.why]));
  const it: ResultSuite['it'] = (title, body) => {
    test(title, { timeout: 30_000 }, async () => {
      const fixture = await open();
      try {
        await body(fixture);
      } finally {
        await fixture.close();
      }
    });
  };

  describe('capabilities', () => {
    it('declares exactly what it cannot do, with a reason for people', async ({ store }) => {
      for (const [capability, value] of Object.entries(store.capabilities)) {
        if (!gaps.has(capability as ResultStoreGap['capability'])) expect(value, capability).toBe(true);
        else expect(value, `${capability} is named as a gap`).toEqual(expect.stringMatching(/\S+ \S+/));
      }
      expect(store.name).toMatch(/^[a-z]+$/);
    });
  });

  return {
    patienceMs: options.patienceMs ?? 10_000,
    has: (capability) => !gaps.has(capability),
    it,
    can(capability, title, body, otherwise) {
      const why = gaps.get(capability);
      if (why === undefined) return it(title, body);
      it(`${title} [gap ${capability}: ${why}]`, otherwise ?? ((fixture) => expectGap(fixture, capability)));
    },
  };
}

/** A gap that the store does not own up to is a failure. */
async function expectGap(fixture: ResultStoreFixture, capability: ResultStoreGap['capability']): Promise<void> {
  if (capability === 'connections') {
    expect(fixture.breakConnections).toBeUndefined();
    return;
  }
  if (capability === 'ttl') {
    // no time of the writer's choosing: what was to be kept for a moment is still there after it
    const writer = await openWriter(fixture);
    const id = uniqueId('kept');
    await writer.write(id, 'SUCCESS', { ttlMs: 1 });
    await writer.arrived();
    await expectStored(fixture.store, id, meta(id, 'SUCCESS'));
    return;
  }
  expect(fixture.store.capabilities[capability]).not.toBe(true);
}
