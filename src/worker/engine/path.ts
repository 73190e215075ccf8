/**
 * The path of a delivery through the engine, put together: intake (`consumer.ts`), settlement (`settle.ts`), and the calls of
 * user code (`calls.ts`), over one broker and one store. It has no life of its own: `engine.ts` starts and stops it.
 */
import type { Broker, Consumer } from '../../brokers/broker.js';
import type { LamportClock } from '../../control/lamport-clock.js';
import { type Clock, systemClock } from '../../core/clock.js';
import type { Logger } from '../../core/logger.js';
import { packageVersion } from '../../core/version.js';
import { EventDispatcher } from '../../events/dispatcher.js';
import type { ResultStore } from '../../results/result-store.js';
import type { EngineOptions } from '../options.js';
import type { ExecutorHello, TaskFacts } from '../port.js';
import { Calls } from './calls.js';
import { Intake } from './consumer.js';
import { PauseWatch } from './control/pauses.js';
import { RateLimits } from './control/rate-limits.js';
import { Revoked } from './control/revoked.js';
import { Terminator } from './control/terminate.js';
import type { Executors } from './executors/executors.js';
import type { OverrunOptions } from './executors/overrun.js';
import { Aftermath } from './following/aftermath.js';
import { Chords } from './following/chords.js';
import { Continuation } from './following/continuation.js';
import { TaskEvents } from './reporting/task-events.js';
import type { TaskLog } from './reporting/task-log.js';
import { ResultForm } from './result-write.js';
import { CLAIM_TTL_MS, Settler } from './settle.js';
import type { ActiveRun, EngineCounters } from './state.js';
import { askPatiently, storePatiently } from './store-patiently.js';

export interface PathOptions {
  readonly options: EngineOptions;
  readonly hello: ExecutorHello;
  readonly broker: Broker;
  readonly store: ResultStore;
  readonly consumer: () => Consumer;
  readonly executors: Executors;
  readonly active: Map<number, ActiveRun>;
  readonly facts: ReadonlyMap<string, TaskFacts>;
  readonly counters: EngineCounters;
  readonly logger: Logger;
  readonly taskLog: TaskLog;
  readonly clock: Clock;
  /** The node's logical clock. */
  readonly lamport: LamportClock;
  /** Aborts when the engine gives up waiting for the store. */
  readonly signal: AbortSignal;
  /** What it takes to end an executor by force; `null` = nobody can. */
  readonly overrun: () => OverrunOptions | null;
  /** Credit of a delivery that ended without an executor. */
  grant(queue: string): void;
  /** Called after a batch of outcomes is settled. */
  onDrained(): void;
}

export interface DeliveryPath {
  readonly intake: Intake;
  readonly settler: Settler;
  readonly calls: Calls;
  readonly limits: RateLimits;
  /** Not started: it speaks once the worker takes tasks. */
  readonly dispatcher: EventDispatcher;
  readonly events: TaskEvents;
  readonly revoked: Revoked;
  readonly terminator: Terminator;
  /** Not started. */
  readonly pauses: PauseWatch;
  /** Not watching: it looks for overdue ones once the worker takes tasks. */
  readonly chords: Chords;
}

export function layPath({
  options,
  hello,
  signal,
  onDrained,
  executors,
  active,
  facts,
  grant,
  overrun,
  ...shared
}: PathOptions): DeliveryPath {
  const { broker, clock, lamport, logger, counters } = shared;
  const dispatcher = new EventDispatcher({
    ...{ hostname: options.name, mode: options.events ?? hello.events, version: packageVersion(), clock, logger },
    tick: () => lamport.tick(),
    broadcast: (broadcast) => broker.broadcast(broadcast),
    counts: () => ({ active: active.size, processed: counters.succeeded + counters.failed + counters.retried }),
  });
  const events = new TaskEvents(dispatcher);
  const results = new ResultForm({ ...hello, clock, nodeName: options.name });
  const continuation = new Continuation({
    ...{
      broker,
      store: shared.store,
      results,
      clock,
      logger,
      signal,
      canvas: hello.canvas,
      nodeName: options.name,
    },
  });
  const chords = new Chords({
    ...{ store: shared.store, clock, logger, results, resultTtlMs: hello.resultTtlMs },
    messagesOf: (plan, parent, isRepeated) => continuation.messagesOf(plan, parent, isRepeated),
    send: (messages) => continuation.send(messages),
    ask: (step) => askPatiently(step, { logger, signal }),
    write: (writes) => storePatiently(writes, { ...shared, signal }),
    broadcast: (message) => broker.broadcast(message),
  });
  const claimTtlMs = hello.resultTtlMs ?? CLAIM_TTL_MS;
  const aftermath = new Aftermath({ ...shared, continuation, chords, events, signal, claimTtlMs });
  const settler = new Settler({ ...shared, events, aftermath, continuation, results, signal, claimTtlMs, onDrained });
  const limits = new RateLimits(facts);
  const { records } = broker.revocations;
  const revoked: Revoked = new Revoked({
    ...{ records: records ?? shared.store.revocations ?? null, isTold: records !== null, clock },
    onChange: () => void terminator.lookAtWaiting(),
    // what was revoked may have been a part that waited elsewhere, and that whoever revoked it has taken away
    onHeard: () => chords.overdue.soon(),
  });
  const terminator = new Terminator({
    ...{ revoked, executors, active, settler, logger, overrun },
    onEnded: (run) => {
      active.delete(run.run);
      grant(run.delivery.queue);
    },
  });
  // Its timer is real time: a fake clock of tests must not stop for it.
  const pauses = new PauseWatch({ broker, clock: systemClock, logger });
  const intake = new Intake({
    ...shared,
    ...{ executors, settler, active, facts, grant, events, revoked, pauses },
    softTimeLimitMs: options.softTimeLimitMs,
    timeLimitMs: options.timeLimitMs,
    nodeName: options.name,
    unknownTaskPatienceMs: options.unknownTaskPatienceMs,
    limits,
    claimTtlMs,
  });
  const calls = new Calls(broker, shared.store, { ...shared, active, chords, resultTtlMs: hello.resultTtlMs });
  return { intake, settler, limits, calls, dispatcher, events, revoked, terminator, pauses, chords };
}
