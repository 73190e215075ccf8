/**
 * The path of a delivery through the engine, put together: intake (`consumer.ts`), settlement (`settle.ts`), and the calls of
 * user code (`calls.ts`), over one broker and one store. It has no life of its own: `engine.ts` starts and stops it.
 */
import type { Broker, Consumer } from '../../brokers/broker.js';
import type { Clock } from '../../core/clock.js';
import type { Logger } from '../../core/logger.js';
import type { LamportClock } from '../../control/lamport-clock.js';
import { packageVersion } from '../../core/version.js';
import { EventDispatcher } from '../../events/dispatcher.js';
import type { ResultStore } from '../../results/result-store.js';
import type { EngineOptions } from '../options.js';
import type { ExecutorHello, TaskFacts } from '../port.js';
import { Calls } from './calls.js';
import { Intake } from './consumer.js';
import type { Executors } from './executors.js';
import { RateLimits } from './rate-limits.js';
import { CLAIM_TTL_MS, Settler } from './settle.js';
import type { ActiveRun, EngineCounters } from './state.js';
import { TaskEvents } from './task-events.js';
import type { TaskLog } from './task-log.js';

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
  ...shared
}: PathOptions): DeliveryPath {
  const { broker, clock, lamport, logger, counters } = shared;
  const dispatcher = new EventDispatcher({
    ...{ hostname: options.name, mode: options.events ?? hello.events, version: packageVersion(), clock, logger },
    tick: () => lamport.tick(),
    broadcast: (broadcast) => broker.broadcast(broadcast),
    counts: () => ({ active: active.size, processed: counters.received }),
  });
  const events = new TaskEvents(dispatcher);
  const settler = new Settler({ ...shared, events, resultTtlMs: hello.resultTtlMs, signal, onDrained });
  const limits = new RateLimits(facts);
  const intake = new Intake({
    ...shared,
    ...{ executors, settler, active, facts, grant, events },
    softTimeLimitMs: options.softTimeLimitMs,
    timeLimitMs: options.timeLimitMs,
    nodeName: options.name,
    unknownTaskPatienceMs: options.unknownTaskPatienceMs,
    limits,
    claimTtlMs: hello.resultTtlMs ?? CLAIM_TTL_MS,
  });
  return { intake, settler, limits, calls: new Calls(broker, shared.store, shared), dispatcher, events };
}
