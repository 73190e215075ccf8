/**
 * The settlement of tasks that have something behind them: the result is stored, what follows is sent, what never will run is ended, and
 * only then the delivery goes. `settle.ts` does the rest and calls this. Next stop: `continuation.ts`.
 */
import type { Broker, OutgoingMessage, Settlement } from '../../../brokers/broker.js';
import { codeOf, toError } from '../../../core/errors.js';
import type { ResultWrite, WriteResult } from '../../../results/result-store.js';
import type { WireEvent } from '../../../wire/event-message.js';
import { pythonError } from '../../../wire/exception-info.js';
import type { WireMessage } from '../../../wire/message.js';
import { decodeResultMeta } from '../../../wire/result-meta.js';
import { encodeJson } from '../../../wire/serializers/json.js';
import type { TaskHeaders } from '../../../wire/task-message.js';
import type { NewChord, Outcome } from '../../port.js';
import type { TaskEvents } from '../reporting/task-events.js';
import type { ActiveRun } from '../state.js';
import { type HoldingStore, storeAsHolder, storePatiently } from '../store-patiently.js';
import type { Chords, EndedPart } from './chords.js';
import type { BadEnd, Continuation } from './continuation.js';

/** How long the next try of an early-acked task may take to reach the broker. */
const SUCCESSOR_MS = 30_000;

/** For how long what follows a repeated task is not sent again. */
const ONCE_MS = 3_600_000;

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

/** What follows a success. */
export interface GoodEnd {
  readonly headers: TaskHeaders;
  readonly message: WireMessage;
  readonly follow: readonly OutgoingMessage[];
  /** Whose parts are among them. */
  readonly chords: readonly NewChord[];
  /** The part of a chord that the task itself is. */
  readonly part: EndedPart | null;
  /** Somebody else may send the same. */
  readonly isRepeated: boolean;
  /** The task has no result of its own: what follows has its id. */
  readonly isReplaced?: true;
}

/** A delivery to end: with its own result, if it has one, and with what stands behind its task. */
export interface End {
  readonly pair: Pair | null;
  readonly settlement: Settlement | null;
  readonly good: GoodEnd | null;
  readonly bad: BadEnd | null;
  /** The task whose steps nobody needs any more. */
  readonly stepsOf: string | null;
}

/** An end and what became of its result: that it stands, that another run's does, or why it never can be stored; `null`: it has none. */
interface KeptEnd {
  readonly end: End;
  readonly answer: Error | WriteResult | null;
}

export interface AftermathOptions extends HoldingStore {
  readonly broker: Broker;
  readonly continuation: Continuation;
  readonly chords: Chords;
  readonly events: TaskEvents;
}

export class Aftermath {
  readonly #options: AftermathOptions;

  constructor(options: AftermathOptions) {
    this.#options = options;
  }

  /**
   * Results first: of two runs of one task the store takes one, and what follows goes out once. Then what follows, which the next
   * delivery makes up for if this worker dies before it is settled (`finalEnd`). Then the deliveries.
   */
  async settle(ends: readonly End[]): Promise<void> {
    const written = await this.#write(ends.flatMap(({ pair }) => pair?.write ?? []));
    let at = 0;
    const kept = ends.map((end): KeptEnd => ({ end, answer: end.pair === null ? null : (written[at++] as Error | WriteResult) }));
    // whose delivery it is may take a lease to learn: the others must not wait for it
    await Promise.all([
      this.#goOn(kept.filter(({ answer }) => answer !== 'fenced')),
      ...kept.filter(({ answer }) => answer === 'fenced').map(({ end }) => this.#goOnAsHolder(end)),
    ]);
  }

  async #goOnAsHolder(end: End): Promise<void> {
    await this.#goOn([{ end, answer: await storeAsHolder(end.pair as Pair, this.#options) }]);
  }

  /** What comes after the results. */
  async #goOn(kept: readonly KeptEnd[]): Promise<void> {
    if (kept.length === 0) return;
    const { continuation, chords, consumer, events } = this.#options;
    const settlements: Settlement[] = [];
    const standing: End[] = [];
    for (const { end, answer } of kept) {
      const settlement = end.settlement ?? end.pair?.settlement ?? null;
      if (settlement !== null) settlements.push(answer instanceof Error ? this.#parked(settlement, answer) : settlement);
      if (answer === null || answer === 'stored') standing.push(end);
      if (answer === 'stored' || answer === 'final') events.send(end.pair?.event ?? null);
    }
    const good = standing.flatMap((end) => end.good ?? []);
    const failed = await this.#follow(good);
    const consequences = [...standing.flatMap((end) => end.bad ?? []), ...failed].map((bad) => continuation.consequences(bad));
    await this.#write([...failed.flatMap(({ own }) => own ?? []), ...consequences.flatMap(({ writes }) => writes)]);
    await continuation.send(consequences.flatMap(({ errbacks }) => errbacks));
    await chords.report([...good.flatMap(({ part }) => part ?? []), ...consequences.flatMap(({ parts }) => parts)]);
    if (settlements.length > 0) await consumer().settle(settlements);
    await this.#forgetSteps(standing.flatMap(({ stepsOf }) => stepsOf ?? []));
  }

  /** After the delivery is gone, or its next one would begin anew; what stays expires. */
  async #forgetSteps(ids: readonly string[]): Promise<void> {
    const { store, logger } = this.#options;
    if (ids.length === 0) return;
    try {
      await store.steps?.forget(ids);
    } catch (error) {
      logger.debug({ tasks: ids.length, error: toError(error).message }, 'steps could not be removed; they expire');
    }
  }

  /** If one of them is refused each goes alone. */
  async #write(writes: readonly ResultWrite[]): Promise<readonly (Error | WriteResult)[]> {
    if (writes.length === 0) return [];
    const stored = await storePatiently(writes, this.#options);
    if (!(stored instanceof Error)) return stored;
    if (writes.length === 1) return [stored];
    return (await Promise.all(writes.map((write) => this.#write([write])))).flat();
  }

  /** Sends what follows. What never can be sent ends all that stands behind, or whoever waits for the end of the chain waits for ever. */
  async #follow(ends: readonly GoodEnd[]): Promise<(BadEnd & { readonly own?: ResultWrite })[]> {
    const { chords, continuation } = this.#options;
    const messages = ends.flatMap(({ follow, isRepeated }) => (isRepeated ? onceEach(follow) : follow));
    if (messages.length === 0) return [];
    const uncounted = await chords.open(ends.flatMap(({ chords: opened }) => opened));
    const refusals = uncounted === null ? await continuation.send(messages) : messages.map(() => uncounted);
    let at = 0;
    return ends.flatMap(({ headers, message, follow, isReplaced }) => {
      const refusal = refusals.slice(at, at + follow.length).find((each) => each !== null);
      at += follow.length;
      if (!refusal) return [];
      const text = `the task ${isReplaced ? 'was replaced, but what takes its place' : 'succeeded, but what follows it'} could not be sent: ${refusal.message}`;
      const exceptionJson = pythonError('OperationalError', [text], 'kombu.exceptions');
      const bad = { headers, message, state: 'FAILURE' as const, exceptionJson, traceback: null, isRepeated: true };
      return [isReplaced ? { ...bad, own: continuation.failureOf(bad) } : bad];
    });
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

  /** A result that no patience gets stored: acknowledged, it would be lost. */
  #parked({ arrival }: Settlement, refusal: Error): Settlement {
    const { counters, logger } = this.#options;
    counters.parked += 1;
    logger.error({ error: refusal.message }, 'a result cannot be stored; its message is parked');
    return { kind: 'park', arrival, reason: { code: codeOf(refusal) ?? 'E_INTERNAL', reason: refusal.message } };
  }
}

/** Of two workers that may send the same at once, one does. */
const onceEach = (messages: readonly OutgoingMessage[]): OutgoingMessage[] =>
  messages.map((message) => {
    const { id, parent_id: parent, replaced_task_nesting: nesting } = message.message.headers;
    // a task and what takes its place have one id, and both are sent
    return { ...message, dedupe: { key: `follow:${String(parent)}:${String(nesting)}:${String(id)}`, ttlMs: ONCE_MS } };
  });

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

/** What follows this run; `null` when it did not succeed. */
export function goodEndOf(outcome: Outcome, { headers, message, epoch }: ActiveRun, continuation: Continuation): GoodEnd | null {
  const isRepeated = epoch > 0;
  if (outcome.kind === 'replaced') {
    const { follow, chords } = outcome;
    return { headers, message, follow, chords, part: null, isRepeated, isReplaced: true };
  }
  if (outcome.kind !== 'success') return null;
  const part = outcome.isPart ? continuation.succeededPart(headers, message, outcome.resultJson) : null;
  return { headers, message, follow: outcome.follow ?? [], chords: outcome.chords ?? [], part, isRepeated };
}

/**
 * The end of a delivery whose result is final already: the worker that stored it may have died before it saw to what stands behind. A
 * second message of the task is nobody's that died, so it leaves that to the first.
 */
export function finalEnd(delivery: FinalDelivery, meta: string, continuation: Continuation): Pick<End, 'good' | 'bad'> {
  const { headers, message, redelivered } = delivery;
  const { status: state, result, traceback } = decodeResultMeta(meta);
  if (!redelivered) return { good: null, bad: null };
  if (state === 'SUCCESS') return { good: continuation.goodEnd(headers, message, result), bad: null };
  if (state !== 'FAILURE' && state !== 'REVOKED') return { good: null, bad: null };
  return { good: null, bad: { headers, message, state, exceptionJson: encodeJson(result), traceback, isRepeated: true } };
}

export interface FinalDelivery {
  readonly headers: TaskHeaders;
  readonly message: WireMessage;
  /** Somebody held this very delivery before. */
  readonly redelivered: boolean;
}
