/**
 * Stop 5 of the walk: deliveries come in, admission judges each, and the verdict is carried out: to an executor, back
 * to the delay store, to the dead letters, or ended. Next stop: `worker/executor/execute.ts`, across the port.
 */
import type { Arrival, Broker, Consumer, Delivery, Garbage, Settlement } from '../../brokers/broker.js';
import type { Clock } from '../../core/clock.js';
import { toError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { ResultStore } from '../../results/result-store.js';
import { pythonError } from '../../wire/exception-info.js';
import type { TaskHeaders } from '../../wire/task-message.js';
import type { TaskFacts } from '../port.js';
import { type AdmissionContext, admit, type Verdict, wasClaimed } from './admission.js';
import type { PauseWatch } from './control/pauses.js';
import type { RateLimits } from './control/rate-limits.js';
import { REVOKED_UNBEGUN, type Revoked } from './control/revoked.js';
import type { Executors } from './executors/executors.js';
import { Suspects } from './executors/suspects.js';
import { AWAY_AGAIN_MS, beforeAlone, handBackUnstarted, prepare } from './preparation.js';
import type { TaskEvents } from './reporting/task-events.js';
import type { TaskLog } from './reporting/task-log.js';
import type { Settler } from './settle.js';
import type { ActiveRun, EngineCounters } from './state.js';

export interface IntakeOptions {
  readonly broker: Broker;
  readonly store: ResultStore;
  readonly consumer: () => Consumer;
  readonly executors: Executors;
  readonly settler: Settler;
  readonly active: Map<number, ActiveRun>;
  readonly facts: ReadonlyMap<string, TaskFacts>;
  readonly counters: EngineCounters;
  readonly logger: Logger;
  readonly taskLog: TaskLog;
  readonly limits: RateLimits;
  readonly revoked: Revoked;
  readonly pauses: PauseWatch;
  readonly events: TaskEvents;
  readonly clock: Clock;
  /** The worker's own limits, for tasks and calls that have none. */
  readonly softTimeLimitMs: number | null;
  readonly timeLimitMs: number | null;
  /** The node's name, for the state STARTED. */
  readonly nodeName: string;
  readonly unknownTaskPatienceMs: number;
  /** How long a claim's epoch is remembered. */
  readonly claimTtlMs: number;
  /** Credit of a delivery that ended without an executor. */
  grant(queue: string): void;
}

/** A suspect that cannot be alone yet goes back for about this long. */
const ALONE_AGAIN_MS = 400;
const NONE: ReadonlySet<string> = new Set();

export class Intake {
  readonly #options: IntakeOptions;
  readonly #precisionMs: number;
  /** The last of the batches that wait for a look at the records; `null` = none does. Bounded by the credit. */
  #looking: Promise<void> | null = null;
  readonly #suspects: Suspects;
  #nextRun = 1;
  #isStopping = false;

  constructor(options: IntakeOptions) {
    this.#options = options;
    this.#precisionMs = options.broker.capabilities.delayPrecisionMs ?? 0;
    options.executors.alone.before = (run) => beforeAlone(run, options);
    this.#suspects = new Suspects(options.executors, (delivery) => this.#again(delivery));
  }

  arrivals(arrivals: readonly Arrival[]): void {
    this.#options.counters.received += arrivals.length;
    if (this.#looking === null && !this.#options.revoked.mustAsk) return this.#judge(arrivals, NONE);
    // Behind those that came before.
    const looking = (this.#looking ?? Promise.resolve())
      .then(() => this.#askFirst(arrivals))
      .finally(() => {
        if (this.#looking === looking) this.#looking = null;
      });
    this.#looking = looking;
  }

  /** Something is recorded as revoked, so it may be among these. */
  async #askFirst(arrivals: readonly Arrival[]): Promise<void> {
    const { revoked, logger, settler, clock, grant } = this.#options;
    const ids: string[] = [];
    for (const arrival of arrivals) {
      const id = arrival.kind === 'delivery' ? arrival.message.headers['id'] : null;
      if (typeof id === 'string') ids.push(id);
    }
    let recorded: ReadonlySet<string>;
    try {
      recorded = await revoked.ask(ids);
    } catch (error) {
      logger.warn({ count: ids.length, error: toError(error).message }, 'revocations could not be looked up; tasks put back');
      for (const arrival of arrivals) {
        if (arrival.kind === 'garbage') this.#parkGarbage(arrival);
        else {
          settler.withoutResult({ kind: 'defer', arrival, untilMs: clock.nowMs() + AWAY_AGAIN_MS });
          grant(arrival.queue);
        }
      }
      return;
    }
    this.#judge(arrivals, recorded);
  }

  #judge(arrivals: readonly Arrival[], recorded: ReadonlySet<string>): void {
    const context = this.#context(recorded);
    for (const arrival of arrivals) {
      if (arrival.kind === 'garbage') this.#parkGarbage(arrival);
      else this.#carryOut(arrival, admit(arrival, context));
    }
  }

  #context(recorded: ReadonlySet<string>): AdmissionContext {
    const { facts, unknownTaskPatienceMs, revoked, pauses, clock } = this.#options;
    const isRevoked =
      recorded.size === 0
        ? (headers: TaskHeaders): boolean => revoked.has(headers)
        : (headers: TaskHeaders): boolean => recorded.has(headers.id) || revoked.has(headers);
    const nowMs = clock.nowMs();
    const random = Math.random();
    const pausedUntilMs = (task: string): number | null => pauses.waitUntilMs(task, nowMs, random);
    return { nowMs, facts, unknownTaskPatienceMs, isRevoked, pausedUntilMs, random };
  }

  #carryOut(delivery: Delivery, verdict: Verdict): void {
    const { settler, counters, taskLog, clock } = this.#options;
    if (delivery.redelivered) taskLog.again(delivery);
    switch (verdict.kind) {
      case 'run': {
        const { headers, message, facts, epoch, alone } = verdict;
        if (alone && !this.#isStopping && !this.#options.executors.alone.isFree && this.#suspects.hold(delivery)) return;
        const waitMs = this.#takesPlace(verdict);
        if (waitMs > 0) {
          counters.deferred += 1;
          settler.withoutResult({ kind: 'defer', arrival: delivery, untilMs: clock.nowMs() + waitMs });
          break;
        }
        const run: ActiveRun = {
          run: this.#nextRun++,
          delivery,
          message,
          headers,
          facts,
          epoch,
          alone,
          settled: false,
          softTimeLimitMs: headers.softTimeLimitMs ?? facts.softTimeLimitMs ?? this.#options.softTimeLimitMs,
          timeLimitMs: headers.timeLimitMs ?? facts.timeLimitMs ?? this.#options.timeLimitMs,
          executor: -1,
          startedMs: 0,
          blockedBeforeMs: 0,
        };
        if (verdict.claim || facts.ack === 'early') void this.#startPrepared(run, verdict.claim);
        else this.#start(run);
        return;
      }
      case 'expired':
      case 'revoked': {
        counters[verdict.kind] += 1;
        const exception = pythonError('TaskRevokedError', [verdict.kind], 'celery.exceptions');
        void settler.withoutRun(
          verdict.headers,
          delivery.message,
          'REVOKED',
          exception,
          { kind: 'ack', arrival: delivery },
          wasClaimed(delivery),
        );
        break;
      }
      case 'defer': {
        const leftMs = verdict.untilMs - clock.nowMs();
        // Nearer than the broker can tell apart: held here, in its slot, or it would go round and round.
        if (leftMs <= this.#precisionMs) {
          clock.after(leftMs, () => this.#again(delivery));
          return;
        }
        counters.deferred += 1;
        settler.withoutResult({ kind: 'defer', arrival: delivery, untilMs: verdict.untilMs });
        break;
      }
      case 'unknown': {
        const { headers, untilMs, message } = verdict;
        counters.deferred += 1;
        this.#options.logger.warn(
          { id: headers.id, task: headers.task, queue: delivery.queue },
          'no such task is registered here: put back for a while, a worker that knows it may come up',
        );
        settler.withoutResult({ kind: 'defer', arrival: delivery, untilMs, message });
        break;
      }
      case 'park': {
        const { headers, code, reason } = verdict;
        counters.parked += 1;
        taskLog.parked(delivery.queue, headers, code, reason);
        const exception =
          code === 'E_NOT_REGISTERED'
            ? pythonError('NotRegistered', [headers?.task ?? ''], 'celery.exceptions')
            : pythonError('WorkerLostError', [reason], 'billiard.exceptions');
        const park: Settlement = { kind: 'park', arrival: delivery, reason: { code, reason } };
        if (headers === null) settler.withoutResult(park);
        else void settler.withoutRun(headers, delivery.message, 'FAILURE', exception, park, wasClaimed(delivery));
        break;
      }
    }
    this.#options.grant(delivery.queue);
  }

  /** Takes what a run needs before it may start: the place of one alone, a start within its rate limit. Milliseconds until it should ask again; 0: it has both. */
  #takesPlace({ facts, headers, alone }: Verdict & { readonly kind: 'run' }): number {
    const { executors, limits, clock } = this.#options;
    if (alone && !executors.alone.take()) return Math.round(ALONE_AGAIN_MS * (0.5 + Math.random()));
    const expiresInMs = headers.expiresMs === null ? undefined : headers.expiresMs - clock.nowMs();
    const waitMs = limits.take(facts, clock.monotonicMs(), expiresInMs);
    if (waitMs === 0) return 0;
    if (alone) executors.alone.leave();
    return Math.ceil(Math.max(waitMs, this.#precisionMs));
  }

  /** Judges a delivery again whose time has come. One that was lost meanwhile leaves its credit, or the worker would take ever less. */
  #again(delivery: Delivery): void {
    if (this.#options.consumer().holds(delivery.tag)) this.#carryOut(delivery, admit(delivery, this.#context(NONE)));
    else this.#options.grant(delivery.queue);
  }

  /** The worker stops: what waits here for its turn goes back, and what is being prepared will. */
  stop(): void {
    this.#isStopping = true;
    const waiting = this.#suspects.clear();
    handBackUnstarted(
      waiting.map((delivery) => ({ delivery })),
      this.#options,
    );
  }

  /** Gives back what a run took that will not start: its credit, and the place of a run alone. */
  #endUnstarted(run: ActiveRun): void {
    if (run.alone) this.#options.executors.alone.leave();
    this.#options.grant(run.delivery.queue);
  }

  async #startPrepared(run: ActiveRun, claim: boolean): Promise<void> {
    const prepared = await prepare(run, claim, this.#options);
    if (prepared) this.#start(prepared);
    else this.#endUnstarted(run);
  }

  #start(run: ActiveRun): void {
    if (this.#isStopping && !run.settled) {
      handBackUnstarted([run], this.#options);
      this.#endUnstarted(run);
      return;
    }
    // Its lease may have lapsed since it came (a stopped process, a slow claim): somebody else has it or will.
    if (!run.settled && !this.#options.consumer().holds(run.delivery.tag)) {
      const { id, task } = run.headers;
      this.#options.logger.warn({ id, task }, 'the lease had lapsed before the task could start: left to others');
      this.#endUnstarted(run);
      return;
    }
    const { active, events, revoked, settler } = this.#options;
    // It may have waited for its claim meanwhile.
    if (revoked.has(run.headers)) {
      settler.outcomes([{ outcome: { ...REVOKED_UNBEGUN, run: run.run }, run }]);
      this.#endUnstarted(run);
      return;
    }
    active.set(run.run, run);
    if (events.on) events.received(run);
    this.#options.executors.dispatch(run);
    if (run.facts.trackStarted)
      this.#options.settler.state(run, 'STARTED', JSON.stringify({ pid: process.pid, hostname: this.#options.nodeName }));
  }

  #parkGarbage(garbage: Garbage): void {
    const { settler, counters, taskLog } = this.#options;
    counters.parked += 1;
    taskLog.parked(garbage.queue, null, garbage.fault.code, garbage.fault.message);
    const reason = { code: garbage.fault.code, reason: garbage.fault.message };
    settler.withoutResult({ kind: 'park', arrival: garbage, reason });
    this.#options.grant(garbage.queue);
  }
}
