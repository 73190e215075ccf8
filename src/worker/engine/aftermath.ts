/**
 * The settlement of tasks that have something behind them: what follows is sent, what never will run is ended, and only then the delivery
 * goes. `settle.ts` does the rest and calls this. Next stop: `continuation.ts`.
 */
import type { Broker, Consumer, OutgoingMessage, Settlement } from '../../brokers/broker.js';
import type { Clock } from '../../core/clock.js';
import { codeOf, toError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { ResultStore, ResultWrite } from '../../results/result-store.js';
import type { WireEvent } from '../../wire/event-message.js';
import { pythonError } from '../../wire/exception-info.js';
import type { WireMessage } from '../../wire/message.js';
import { decodeResultMeta } from '../../wire/result-meta.js';
import { encodeJson } from '../../wire/serializers/json.js';
import type { TaskHeaders } from '../../wire/task-message.js';
import type { NewChord, Outcome } from '../port.js';
import type { Chords } from './chords.js';
import { type BadEnd, type Continuation, NO_CONSEQUENCES } from './continuation.js';
import { resultWrite } from './result-write.js';
import type { ActiveRun, EngineCounters } from './state.js';
import { storePatiently } from './store-patiently.js';
import type { TaskEvents } from './task-events.js';

/** How long the next try of an early-acked task may take to reach the broker. */
const SUCCESSOR_MS = 30_000;

/** How long a state is kept that the result follows at once. */
const STARTED_MS = 3_600_000;

/** A settlement that waits for its result to be stored first. */
export interface Pair {
  readonly write: ResultWrite;
  readonly settlement: Settlement | null;
  /** Told after the result is stored, because who hears it may read the result at once. */
  readonly event: WireEvent | null;
}

/** A run and how it ended. */
export interface EndedRun {
  readonly outcome: Outcome;
  readonly run: ActiveRun;
}

export interface AftermathOptions {
  readonly broker: Broker;
  readonly store: ResultStore;
  readonly counters: EngineCounters;
  readonly continuation: Continuation;
  readonly chords: Chords;
  readonly consumer: () => Consumer;
  readonly events: TaskEvents;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Aborts when the engine gives up waiting for the store. */
  readonly signal: AbortSignal;
}

export class Aftermath {
  readonly #options: AftermathOptions;

  constructor(options: AftermathOptions) {
    this.#options = options;
  }

  /**
   * A task that was delivered twice may run twice at once, and one of the two holds the claim: the other's outcome is refused, and what
   * follows it must not be sent either, or all the rest of the chain would run twice. Only for those that were claimed: asking is a write.
   */
  async withoutFenced(batch: readonly EndedRun[]): Promise<readonly EndedRun[]> {
    const { store, clock, consumer, counters } = this.#options;
    const claimed = batch.filter(({ outcome, run }) => run.epoch > 0 && outcome.kind === 'success' && outcome.follow);
    if (claimed.length === 0 || store.capabilities.fence !== true) return batch;
    const writes = claimed.map(({ run: { headers, epoch } }) => {
      const started = { state: 'STARTED', resultJson: 'null', traceback: null, children: [], epoch, ttlMs: STARTED_MS };
      return resultWrite(headers, started, clock.nowMs());
    });
    const answers = await storePatiently(writes, this.#options);
    if (answers instanceof Error) return batch;
    const lost = new Set(claimed.filter((_, index) => answers[index] !== 'stored'));
    if (lost.size === 0) return batch;
    counters.duplicates += lost.size;
    const acks = [...lost].flatMap(({ run }): Settlement[] => (run.settled ? [] : [{ kind: 'ack', arrival: run.delivery }]));
    if (acks.length > 0) await consumer().settle(acks);
    return batch.filter((ended) => !lost.has(ended));
  }

  /**
   * Sends what follows the successes among them. What cannot be sent makes a failure of its task, or whoever waits for the end of the
   * chain waits for ever.
   */
  async follow(batch: readonly EndedRun[]): Promise<readonly EndedRun[]> {
    const { chords, continuation } = this.#options;
    const messages: OutgoingMessage[] = [];
    const opened: NewChord[] = [];
    for (const { outcome } of batch) {
      if (outcome.kind !== 'success') continue;
      messages.push(...(outcome.follow ?? []));
      opened.push(...(outcome.chords ?? []));
    }
    if (messages.length === 0) return batch;
    const uncounted = await chords.open(opened);
    const refusals = uncounted === null ? await continuation.send(messages) : messages.map(() => uncounted);
    if (refusals.every((refusal) => refusal === null)) return batch;
    let at = 0;
    return batch.map((ended) => {
      const { outcome, run } = ended;
      if (outcome.kind !== 'success' || !outcome.follow) return ended;
      const refusal = refusals.slice(at, at + outcome.follow.length).find((each) => each !== null);
      at += outcome.follow.length;
      return refusal ? { outcome: failedToFollow(outcome, refusal), run } : ended;
    });
  }

  /** Tells the chords that tasks were parts of; before their results are stored, for a task with a final result does not run again. */
  async reportSuccesses(batch: readonly EndedRun[]): Promise<void> {
    const { chords, continuation } = this.#options;
    const parts = batch.flatMap(({ outcome, run: { headers, message } }) =>
      outcome.kind === 'success' && outcome.isPart
        ? (continuation.succeededPart(headers, message, outcome.resultJson) ?? [])
        : [],
    );
    if (parts.length > 0) await chords.report(parts);
  }

  /** The next try of a task that was acked before it ran: nothing is held any more that could be deferred, so it is sent anew. */
  async sendSuccessor(write: ResultWrite | null, event: WireEvent | null, run: ActiveRun, next: OutgoingMessage): Promise<void> {
    const { broker, events, logger } = this.#options;
    const tell = (error: Error): void => {
      const { id, task } = run.headers;
      logger.error({ id, task, error: error.message }, 'the next try could not be sent; acked early, the task ends here');
    };
    try {
      if (write !== null) await storePatiently([write], this.#options);
      events.send(event);
      const [failure] = await broker.publish([next], { timeoutMs: SUCCESSOR_MS });
      if (failure) tell(failure);
    } catch (error) {
      tell(toError(error));
    }
  }

  /** A bad end: stored for all that it ends, then the errbacks are sent, and only then the delivery is settled. */
  async settle(end: BadEnd | null, pairs: readonly Pair[], direct: readonly Settlement[]): Promise<void> {
    const { chords, continuation, consumer, events } = this.#options;
    const { writes, errbacks, parts } = end === null ? NO_CONSEQUENCES : continuation.consequences(end);
    const settlements = [...direct];
    for (const { write, settlement, event } of pairs) {
      const stored = await storePatiently([write], this.#options);
      if (!(stored instanceof Error) && stored[0] !== 'fenced') events.send(event);
      if (settlement !== null) settlements.push(stored instanceof Error ? this.#parked(settlement, stored) : settlement);
    }
    if (writes.length > 0) {
      const stored = await storePatiently(writes, this.#options);
      // One of them is refused, so each goes alone.
      if (stored instanceof Error && writes.length > 1) for (const write of writes) await storePatiently([write], this.#options);
    }
    await continuation.send(errbacks);
    await chords.report(parts);
    if (settlements.length > 0) await consumer().settle(settlements);
  }

  /** A result that no patience gets stored: acknowledged, it would be lost. */
  #parked({ arrival }: Settlement, refusal: Error): Settlement {
    const { counters, logger } = this.#options;
    counters.parked += 1;
    logger.error({ error: refusal.message }, 'a result cannot be stored; its message is parked');
    return { kind: 'park', arrival, reason: { code: codeOf(refusal) ?? 'E_INTERNAL', reason: refusal.message } };
  }
}

function failedToFollow({ run, runtimeMs, children }: Outcome, refusal: Error): Outcome {
  const text = `the task succeeded, but what follows it could not be sent: ${refusal.message}`;
  const exceptionJson = pythonError('OperationalError', [text], 'kombu.exceptions');
  return { run, runtimeMs, children, canvas: true, kind: 'failure', exceptionJson, traceback: text, expected: false };
}

/** The engine itself ends runs so, and does not know what stands behind them. */
export const mayEndBadly = ({ kind }: Outcome): boolean => kind === 'failure' || kind === 'revoked';

/** What else has to end with this run; `null` when it succeeded or goes on. */
export function badEndOf(outcome: Outcome, { headers, message, delivery }: ActiveRun): BadEnd | null {
  const base = { headers, message, traceback: null, isRepeated: delivery.redelivered };
  switch (outcome.kind) {
    case 'failure':
      return { ...base, state: 'FAILURE', exceptionJson: outcome.exceptionJson, traceback: outcome.traceback };
    case 'revoked':
      return { ...base, state: 'REVOKED', exceptionJson: revokedError(outcome.begun ? 'terminated' : 'revoked') };
    // They store nothing of their own. What stands behind them never runs.
    case 'ignored':
      return { ...base, state: 'REVOKED', exceptionJson: revokedError('ignored') };
    case 'rejected':
      return outcome.requeue ? null : { ...base, state: 'REVOKED', exceptionJson: revokedError('rejected') };
    default:
      return null;
  }
}

const revokedError = (why: string): string => pythonError('TaskRevokedError', [why], 'celery.exceptions');

/** The same, read from a result that stands already. */
export function storedEndOf(headers: TaskHeaders, message: WireMessage, meta: string): BadEnd | null {
  const { status: state, result, traceback } = decodeResultMeta(meta);
  if (state !== 'FAILURE' && state !== 'REVOKED') return null;
  return { headers, message, state, exceptionJson: encodeJson(result), traceback, isRepeated: true };
}
