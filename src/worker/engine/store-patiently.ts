/**
 * Storing results through an outage: whoever has run a task must not lose its outcome because the store is away. What can
 * never be stored is told apart, because waiting for it would hold up all the others; so is what only seems to come too late. Next stop: `results/result-store.ts`.
 */
import type { Consumer, Settlement } from '../../brokers/broker.js';
import { reconnectDelayMs } from '../../core/backoff.js';
import { sleep } from '../../core/clock.js';
import type { ErrorCode } from '../../core/error-codes.js';
import { codeOf, toError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { ResultStore, ResultWrite, WriteResult } from '../../results/result-store.js';
import type { EngineCounters } from './state.js';

/** What ends by itself and is nobody's fault: batches stay together through it. */
const OUTAGES: ReadonlySet<ErrorCode> = new Set([
  'E_CONNECTION_LOST',
  'E_BROKER_UNREACHABLE',
  'E_BROKER_AUTH',
  'E_PUBLISH_TIMEOUT',
]);

export interface PatientStore {
  readonly store: ResultStore;
  readonly counters: EngineCounters;
  readonly logger: Logger;
  /** Aborts when the engine gives up waiting. */
  readonly signal: AbortSignal;
}

/**
 * Stores the results, for as long as it takes: an outage of the store must not lose outcomes. Resolves with what
 * became of each, or with why a batch was refused, or a single result that never can be stored.
 */
export async function storePatiently(
  writes: readonly ResultWrite[],
  { store, counters, logger, signal }: PatientStore,
): Promise<readonly WriteResult[] | Error> {
  for (let tries = 0; ; tries++) {
    try {
      const results = await store.set(writes);
      for (const result of results) if (result === 'fenced') counters.fenced += 1;
      return results;
    } catch (error) {
      const code = codeOf(error);
      if (code === 'E_CLOSED' || signal.aborted) throw error;
      const isOutage = code !== undefined && OUTAGES.has(code);
      if (writes.length > 1 ? !isOutage : code === 'E_KEY_TYPE') return toError(error);
      if (tries % 10 === 0)
        logger.warn({ results: writes.length, error: toError(error).message }, 'results could not be stored; trying again');
      await sleep(reconnectDelayMs(tries, Math.random()), signal);
    }
  }
}

/** What the holder of a delivery needs to claim it anew. */
export interface HoldingStore extends PatientStore {
  readonly consumer: () => Consumer;
  /** How long an epoch is remembered. */
  readonly claimTtlMs: number;
}

/**
 * Stores a result that was refused as that of an older epoch, if its delivery is ours all the same. A claim can reach the store long after
 * the lease that it was made under, through a connection that stood still, and whoever made it leaves the task to its holder: if the
 * holder's result were refused too, nobody would have one. Who holds it the broker says, and the holder claims in turn. Without a
 * settlement (`ack: 'early'`) nobody else can have it.
 */
export async function storeAsHolder(
  { write, settlement }: { readonly write: ResultWrite; readonly settlement: Settlement | null },
  options: HoldingStore,
): Promise<WriteResult | Error> {
  const { store, consumer, counters, claimTtlMs } = options;
  for (;;) {
    if (settlement !== null) {
      if (settlement.arrival.kind === 'delivery') await consumer().secure(settlement.arrival);
      if (!consumer().holds(settlement.arrival.tag)) return 'fenced';
    }
    const claimed = await askPatiently(() => store.claim(write.id, { ttlMs: claimTtlMs }), options);
    // it was no late result after all
    counters.fenced -= 1;
    if ('final' in claimed) return 'final';
    const stored = await storePatiently([{ ...write, epoch: claimed.epoch }], options);
    if (stored instanceof Error || stored[0] !== 'fenced') return stored instanceof Error ? stored : (stored[0] as WriteResult);
  }
}

/** The same for a question to the store that may be asked again: its answer, or what is no outage. */
export async function askPatiently<T>(
  step: () => Promise<T>,
  { logger, signal }: Omit<PatientStore, 'store' | 'counters'>,
): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await step();
    } catch (error) {
      const code = codeOf(error);
      if (signal.aborted || code === undefined || !(OUTAGES.has(code) || code === 'E_BROKER_FULL')) throw error;
      if (tries % 10 === 0) logger.warn({ error: toError(error).message }, 'the result store does not answer; trying again');
      await sleep(reconnectDelayMs(tries, Math.random()), signal);
    }
  }
}
