/**
 * The settlement of tasks that have something behind them: what follows is sent, what never will run is ended, and only then the delivery
 * goes. `settle.ts` does the rest and calls this. Next stop: `continuation.ts`.
 */
import type { Broker, Consumer, OutgoingMessage, Settlement } from '../../brokers/broker.js';
import { toError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { ResultStore, ResultWrite } from '../../results/result-store.js';
import type { WireEvent } from '../../wire/event-message.js';
import { pythonError } from '../../wire/exception-info.js';
import type { WireMessage } from '../../wire/message.js';
import { decodeResultMeta } from '../../wire/result-meta.js';
import { encodeJson } from '../../wire/serializers/json.js';
import type { TaskHeaders } from '../../wire/task-message.js';
import type { Outcome } from '../port.js';
import type { BadEnd, Continuation } from './continuation.js';
import type { ActiveRun, EngineCounters } from './state.js';
import { storePatiently } from './store-patiently.js';
import type { TaskEvents } from './task-events.js';

/** How long the next try of an early-acked task may take to reach the broker. */
const SUCCESSOR_MS = 30_000;

/** A settlement that waits for its result to be stored first. */
export interface Pair {
  readonly write: ResultWrite;
  readonly settlement: Settlement | null;
  /** Told after the result is stored, because who hears it may read the result at once. */
  readonly event: WireEvent | null;
}

export interface AftermathOptions {
  readonly broker: Broker;
  readonly store: ResultStore;
  readonly counters: EngineCounters;
  readonly continuation: Continuation;
  readonly consumer: () => Consumer;
  readonly events: TaskEvents;
  readonly logger: Logger;
  /** Aborts when the engine gives up waiting for the store. */
  readonly signal: AbortSignal;
}

export class Aftermath {
  readonly #options: AftermathOptions;

  constructor(options: AftermathOptions) {
    this.#options = options;
  }

  /** Sends what follows a success. What cannot be sent makes a failure of it, or whoever waits for the end of the chain waits for ever. */
  async follow(outcome: Outcome): Promise<Outcome> {
    if (outcome.kind !== 'success' || !outcome.follow) return outcome;
    const refusal = await this.#options.continuation.send(outcome.follow);
    if (refusal === null) return outcome;
    const { run, runtimeMs, children } = outcome;
    const text = `the task succeeded, but what follows it could not be sent: ${refusal.message}`;
    const exceptionJson = pythonError('OperationalError', [text], 'kombu.exceptions');
    return { run, runtimeMs, children, canvas: true, kind: 'failure', exceptionJson, traceback: text, expected: false };
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
    const { continuation, consumer, events } = this.#options;
    const { writes, errbacks } = end === null ? { writes: [], errbacks: [] } : continuation.consequences(end);
    const all = [...pairs.map(({ write }) => write), ...writes];
    if (all.length > 0) {
      const stored = await storePatiently(all, this.#options);
      // One of them is refused, so each goes alone.
      if (stored instanceof Error && all.length > 1) for (const write of all) await storePatiently([write], this.#options);
    }
    for (const { event } of pairs) events.send(event);
    await continuation.send(errbacks);
    const settlements = [...direct, ...pairs.flatMap(({ settlement }) => settlement ?? [])];
    if (settlements.length > 0) await consumer().settle(settlements);
  }
}

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
