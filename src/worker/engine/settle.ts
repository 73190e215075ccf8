/**
 * Stop 7 of the walk: outcome → stored result, then the settlement of the delivery. In that order: a delivery whose
 * result could not be stored is not acked, and comes back. A whole batch of outcomes costs one write to the store and
 * one settlement at the broker. Next stop: `results/result-store.ts`.
 *
 * Bounded: what is between outcome and settlement counts as `inFlight`, and the engine stops granting credit above a limit.
 */

import type { Broker, Settlement } from '../../brokers/broker.js';
import { mayHaveCanvas } from '../../canvas/after.js';
import type { Clock } from '../../core/clock.js';
import { codeOf, toError } from '../../core/errors.js';
import type { ResultWrite } from '../../results/result-store.js';
import { pythonError } from '../../wire/exception-info.js';
import type { WireMessage } from '../../wire/message.js';
import { EPOCH_HEADER, LOSSES_HEADER, SUSPECT_HEADER } from '../../wire/own-headers.js';
import { retrySuccessor, type TaskHeaders } from '../../wire/task-message.js';
import type { FromExecutor, Outcome } from '../port.js';
import { withHeader } from './admission.js';
import {
  type Aftermath,
  badEndOf,
  type End,
  type EndedRun,
  type FinalDelivery,
  finalEnd,
  goodEndOf,
  mayEndBadly,
  type Pair,
} from './following/aftermath.js';
import type { Continuation } from './following/continuation.js';
import type { TaskEvents } from './reporting/task-events.js';
import type { TaskLog } from './reporting/task-log.js';
import type { ResultForm } from './result-write.js';
import type { ActiveRun } from './state.js';
import { type HoldingStore, storeAsHolder, storePatiently } from './store-patiently.js';

/** How long an epoch is remembered when results are kept for ever. */
export const CLAIM_TTL_MS = 86_400_000;

export interface SettlerOptions extends HoldingStore {
  readonly broker: Broker;
  readonly taskLog: TaskLog;
  readonly events: TaskEvents;
  readonly aftermath: Aftermath;
  readonly continuation: Continuation;
  readonly clock: Clock;
  readonly results: ResultForm;
  /** Called after a batch is through. */
  onDrained(): void;
}

export class Settler {
  /** Outcomes whose result or settlement is still under way. */
  inFlight = 0;
  /** Of this turn of the loop; bounded by what one delivery of messages brings. */
  readonly #ended: Settlement[] = [];
  readonly #options: SettlerOptions;

  constructor(options: SettlerOptions) {
    this.#options = options;
  }

  /** Stores and settles a batch of outcomes of runs that were active. */
  outcomes(batch: readonly EndedRun[]): void {
    const { counters, taskLog } = this.#options;
    const consumer = this.#options.consumer();
    const pairs: Pair[] = [];
    const direct: Settlement[] = [];
    const inCanvas: EndedRun[] = [];
    for (const { outcome, run } of batch) {
      if (!run.settled && !consumer.holds(run.delivery.tag)) {
        counters.fenced += 1;
        taskLog.refused(run);
        continue;
      }
      if (outcome.canvas || run.hasSteps || (mayEndBadly(outcome) && mayHaveCanvas(run.message))) inCanvas.push({ outcome, run });
      else this.#settleOne(outcome, run, pairs, direct);
    }
    void this.#carryOut(pairs, direct);
    if (inCanvas.length > 0) void this.#tracked(() => this.#withCanvas(inCanvas), inCanvas.length);
  }

  /** What stands behind the tasks is seen to before their deliveries are settled: a worker that dies in between leaves it to the next. */
  async #withCanvas(batch: readonly EndedRun[]): Promise<void> {
    const { aftermath, continuation } = this.#options;
    const ends = batch.map(({ outcome, run }): End => {
      const pairs: Pair[] = [];
      const direct: Settlement[] = [];
      this.#settleOne(outcome, run, pairs, direct);
      const good = goodEndOf(outcome, run, continuation);
      const stepsOf = run.hasSteps && outcome.kind === 'success' ? run.headers.id : null;
      return { pair: pairs[0] ?? null, settlement: direct[0] ?? null, good, bad: badEndOf(outcome, run), stepsOf };
    });
    await aftermath.settle(ends);
  }

  /** A delivery whose result is final already. */
  finalAlready(delivery: FinalDelivery, meta: string, settlement: Settlement): void {
    if (!mayHaveCanvas(delivery.message)) return this.withoutResult(settlement);
    const { aftermath, continuation } = this.#options;
    void this.#tracked(async () => {
      await aftermath.settle([{ pair: null, settlement, stepsOf: null, ...finalEnd(delivery, meta, continuation) }]);
    });
  }

  /** A delivery that ends without running and without a result. Those of one turn go together: a pile of them is put off in batches. */
  withoutResult(settlement: Settlement): void {
    this.inFlight += 1;
    if (this.#ended.push(settlement) > 1) return;
    queueMicrotask(() => {
      const batch = this.#ended.splice(0);
      this.inFlight -= batch.length;
      void this.#carryOut([], batch);
    });
  }

  /**
   * A delivery that ends without running but with a result. One that somebody claimed before is claimed again: written
   * under an older epoch its result would be refused, and the sender would wait for ever.
   */
  async withoutRun(
    headers: TaskHeaders,
    message: WireMessage,
    state: 'FAILURE' | 'REVOKED',
    exceptionJson: string,
    settlement: Settlement,
    claim: boolean,
  ): Promise<void> {
    const { store, results, claimTtlMs, logger, events } = this.#options;
    let epoch = 0;
    if (claim) {
      try {
        const claimed = await store.claim(headers.id, { ttlMs: claimTtlMs });
        if ('final' in claimed) return this.finalAlready({ headers, message, redelivered: true }, claimed.final, settlement);
        epoch = claimed.epoch;
      } catch (error) {
        logger.warn({ id: headers.id, error: toError(error).message }, 'could not be claimed; its result may be refused');
      }
    }
    const event = events.on ? events.endedUnrun(headers, state, exceptionJson) : null;
    const end = { state, exceptionJson, traceback: null };
    const write = results.ofMessage({ headers, message }, settlement.arrival.queue, end, epoch);
    const pair = { write, settlement, event };
    if (!mayHaveCanvas(message)) return void this.#carryOut([pair], []);
    const bad = { headers, message, ...end, isRepeated: claim };
    void this.#tracked(() => this.#options.aftermath.settle([{ pair, settlement: null, good: null, bad, stepsOf: null }]));
  }

  /** Something that a running task says of itself. */
  told(run: ActiveRun, message: Extract<FromExecutor, { type: 'state' | 'event' }>): void {
    if (message.type === 'state') this.state(run, message.state, message.resultJson);
    else if (this.#options.events.on) this.#options.events.own(run, message.event, message.fieldsJson);
  }

  /** A state on the way (STARTED, PROGRESS, …); never over a final one, and nobody waits for it. */
  state(run: ActiveRun, state: string, resultJson: string): void {
    if (run.facts.ignoreResult || run.headers.ignoreResult) return;
    if (!run.settled && !this.#options.consumer().holds(run.delivery.tag)) return;
    const { store, results } = this.#options;
    store.set([results.ofRun(run, state, resultJson)]).catch((error: unknown) => {
      this.#options.logger.warn({ id: run.headers.id, state, error: toError(error).message }, 'a task state could not be stored');
    });
  }

  #settleOne(outcome: Outcome, run: ActiveRun, pairs: Pair[], direct: Settlement[]): void {
    const { counters, taskLog, clock, events, results } = this.#options;
    const { children } = outcome;
    const event = events.on ? events.ended(run, outcome) : null;
    const ack: Settlement | null = run.settled ? null : { kind: 'ack', arrival: run.delivery };
    const finish = (write: ResultWrite | null, settlement: Settlement | null): void => {
      if (write !== null) return void pairs.push({ write, settlement, event });
      events.send(event);
      if (settlement !== null) direct.push(settlement);
    };
    const ignoresResult = run.facts.ignoreResult || run.headers.ignoreResult;
    switch (outcome.kind) {
      case 'success':
        counters.succeeded += 1;
        taskLog.succeeded(run, outcome.runtimeMs);
        finish(ignoresResult ? null : results.ofRun(run, 'SUCCESS', outcome.resultJson, null, children), ack);
        return;
      case 'failure':
        counters.failed += 1;
        if (outcome.abandoned) counters.abandoned += 1;
        taskLog.failed(run, outcome);
        // A failure of a call sent with ignore_result is stored all the same, as Celery 5.6.2 does (wire section 6.3).
        finish(
          run.facts.ignoreResult ? null : results.ofRun(run, 'FAILURE', outcome.exceptionJson, outcome.traceback, children),
          ack,
        );
        return;
      case 'retry': {
        counters.retried += 1;
        taskLog.retried(run, outcome);
        const nowMs = clock.nowMs();
        const untilMs = nowMs + outcome.delayMs;
        // This try ended by itself, so it neither kills its worker nor keeps its loop: the marks of earlier ones end here.
        const { [LOSSES_HEADER]: _losses, [SUSPECT_HEADER]: _suspect, ...headers } = run.message.headers;
        const successorOf = retrySuccessor({ ...run.message, headers }, { nowMs, etaMs: outcome.delayMs > 0 ? untilMs : null });
        const successor = run.epoch > 0 ? withHeader(successorOf, EPOCH_HEADER, run.epoch) : successorOf;
        // RETRY is stored before the successor is sent: else a fast next try could finish first and be overwritten (SURPRISES 5).
        const write = ignoresResult
          ? null
          : results.ofRun(run, 'RETRY', outcome.exceptionJson ?? 'null', outcome.traceback, children);
        if (run.settled) {
          const next = { to: { queue: run.delivery.queue }, message: successor, notBeforeMs: untilMs };
          void this.#tracked(() => this.#options.aftermath.sendSuccessor(write, event, run, next));
        } else finish(write, { kind: 'defer', arrival: run.delivery, untilMs, message: successor });
        return;
      }
      case 'undecodable': {
        counters.parked += 1;
        taskLog.parked(run.delivery.queue, run.headers, outcome.code, outcome.reason);
        const exception = pythonError('DecodeError', [outcome.reason], 'kombu.exceptions');
        const park: Settlement = { kind: 'park', arrival: run.delivery, reason: { code: outcome.code, reason: outcome.reason } };
        finish(results.ofRun(run, 'FAILURE', exception, null, children), run.settled ? null : park);
        return;
      }
      case 'revoked': {
        counters.revoked += 1;
        if (outcome.abandoned) counters.abandoned += 1;
        if (outcome.begun) taskLog.terminated(run, outcome);
        const exception = pythonError('TaskRevokedError', [outcome.begun ? 'terminated' : 'revoked'], 'celery.exceptions');
        finish(run.facts.ignoreResult ? null : results.ofRun(run, 'REVOKED', exception, null, children), ack);
        return;
      }
      case 'ignored':
      case 'replaced':
        finish(null, ack);
        return;
      case 'rejected':
        finish(null, run.settled || !outcome.requeue ? ack : { kind: 'requeue', arrival: run.delivery, where: 'back' });
        return;
      case 'handed-back':
        counters.handedBack += 1;
        finish(null, run.settled ? null : { kind: 'requeue', arrival: run.delivery, where: 'front' });
        return;
    }
  }

  async #carryOut(pairs: readonly Pair[], direct: readonly Settlement[]): Promise<void> {
    const count = pairs.length + direct.length;
    if (count === 0) return;
    this.inFlight += count;
    try {
      if (pairs.length === 0) return void (await this.#options.consumer().settle(direct));
      const written = direct.length > 0 ? this.#options.consumer().settle(direct) : null;
      const results = await storePatiently(
        pairs.map((pair) => pair.write),
        this.#options,
      );
      if (results instanceof Error) {
        // One of them is refused, so each goes alone: the others must not wait for what may never be stored.
        if (pairs.length > 1) await Promise.all(pairs.map((pair) => this.#carryOut([pair], [])));
        else await this.#parkUnstorable(pairs[0] as Pair, results);
        await written;
        return;
      }
      const refused = pairs.filter((_pair, index) => results[index] === 'fenced');
      const stored = pairs.filter((_pair, index) => results[index] !== 'fenced');
      for (const { event } of stored) this.#options.events.send(event);
      const settlements = stored.flatMap(({ settlement }) => settlement ?? []);
      if (settlements.length > 0) await this.#options.consumer().settle(settlements);
      // Whose delivery it is may take a lease to learn: the others must not wait for it.
      await Promise.all(refused.map((pair) => this.#settleRefused(pair)));
      await written;
    } catch (error) {
      this.#unsettled(error, count);
    } finally {
      this.inFlight -= count;
      this.#options.onDrained();
    }
  }

  async #settleRefused(pair: Pair): Promise<void> {
    const result = await storeAsHolder(pair, this.#options);
    if (result instanceof Error) return this.#parkUnstorable(pair, result);
    if (result !== 'fenced') this.#options.events.send(pair.event);
    if (pair.settlement !== null) await this.#options.consumer().settle([pair.settlement]);
  }

  /** Work on deliveries that count until they are settled. */
  async #tracked(work: () => Promise<void>, count = 1): Promise<void> {
    this.inFlight += count;
    try {
      await work();
    } catch (error) {
      this.#unsettled(error, count);
    } finally {
      this.inFlight -= count;
      this.#options.onDrained();
    }
  }

  /** The deliveries go back when the consumer closes, or when their lease ends. */
  #unsettled(error: unknown, count: number): void {
    if (codeOf(error) === 'E_CLOSED' || this.#options.signal.aborted) return;
    this.#options.logger.error({ err: toError(error), count }, 'deliveries could not be settled; they will be delivered again');
  }

  /** A result that no patience gets stored: acked it would be lost, delivered again the task would run for ever. */
  async #parkUnstorable({ write, settlement }: Pair, refusal: Error): Promise<void> {
    const { counters, logger } = this.#options;
    logger.error({ id: write.id, error: refusal.message }, 'a result cannot be stored; its message is parked');
    if (settlement === null) return;
    counters.parked += 1;
    const reason = { code: codeOf(refusal) ?? 'E_INTERNAL', reason: refusal.message };
    await this.#options.consumer().settle([{ kind: 'park', arrival: settlement.arrival, reason }]);
  }
}
