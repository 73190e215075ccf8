/**
 * The engine as remote commands see it (`control/worker-port.ts`): its parts, under the names that commands know. No logic of
 * its own beyond translating; each part is explained where it lives.
 */
import { maskUrl } from '../../../control/broker-info.js';
import type { CustomCommands, HeldTask, WorkerFigures, WorkerPort } from '../../../control/worker-port.js';
import type { Logger } from '../../../core/logger.js';
import type { EventDispatcher } from '../../../events/dispatcher.js';
import type { ResultStore } from '../../../results/result-store.js';
import type { EngineOptions } from '../../options.js';
import type { ExecutorHello, TaskFacts } from '../../port.js';
import type { Executors } from '../executors/executors.js';
import type { PoolControl } from '../executors/pool-control.js';
import type { Roster } from '../executors/roster.js';
import type { Chords } from '../following/chords.js';
import type { Vitals } from '../health/vitals.js';
import type { ActiveRun } from '../state.js';
import type { Subscriptions } from '../subscriptions.js';
import type { PauseWatch } from './pauses.js';
import type { RateLimits } from './rate-limits.js';
import type { Revoked } from './revoked.js';
import { storeHeard } from './store-heard.js';
import type { Terminator } from './terminate.js';

export interface EnginePortOptions {
  readonly options: EngineOptions;
  readonly hello: ExecutorHello;
  readonly brokerUrl: string;
  readonly active: ReadonlyMap<number, ActiveRun>;
  readonly facts: Map<string, TaskFacts>;
  /** What was changed of tasks while the worker runs. Bounded by the registered tasks. */
  readonly changes: Map<string, Partial<TaskFacts>>;
  readonly executors: Executors;
  readonly roster: Roster;
  readonly vitals: Vitals;
  readonly limits: RateLimits;
  readonly revoked: Revoked;
  readonly terminator: Terminator;
  /** Of the worker; results that only their sender reads cannot be stored by a stranger. */
  readonly store: ResultStore;
  readonly logger: Logger;
  readonly dispatcher: EventDispatcher;
  readonly subscriptions: Subscriptions;
  readonly declaration: WorkerPort['declaration'];
  readonly pauses: PauseWatch;
  readonly chords: Chords;
  readonly pool: PoolControl;
  readonly custom: CustomCommands;
  readonly onShutdown: (reason: string) => void;
}

export function enginePort(parts: EnginePortOptions): WorkerPort {
  const { options, facts, changes, limits, revoked, terminator, subscriptions, pauses } = parts;
  return {
    nodeName: options.name,
    active: () => heldTasks(parts, ({ executor }) => executor >= 0),
    reserved: () => heldTasks(parts, ({ executor }) => executor < 0),
    // What has a time waits in the broker; see docs/guides/control.md.
    scheduled: () => [],
    *tasks() {
      for (const task of facts.values()) yield { ...task, rateLimit: limits.of(task.name) };
    },
    figures: () => figures(parts),
    settings: (withDefaults) => settings(parts, withDefaults),
    queues: () => subscriptions.names,
    declaration: parts.declaration,
    addQueue: (queue) => subscriptions.add(queue),
    removeQueue: (queue) => subscriptions.remove(queue),
    async refreshPauses() {
      await pauses.refresh();
      await subscriptions.settled();
      return { queues: [...pauses.queues], tasks: pauses.tasks };
    },
    chordsDue: (atMs) => parts.chords.overdue.dueBy(atMs),
    setTimeLimits(name, { softMs, hardMs }) {
      const task = facts.get(name);
      if (!task) return false;
      const limits = { softTimeLimitMs: softMs, timeLimitMs: hardMs };
      changes.set(name, limits);
      facts.set(name, { ...task, ...limits });
      return true;
    },
    rateLimits: limits,
    revocation: {
      revoke: (ids, how) => terminator.revoke(ids, how),
      store: (ids) => storeHeard(ids, parts),
      revokeByStamps: (headers, how) => terminator.revokeByStamps(headers, how),
      hear: (ids) => revoked.hear(ids),
      list: (limitBytes) => revoked.list(limitBytes),
    },
    events: parts.dispatcher,
    pool: parts.pool,
    custom: parts.custom,
    shutdown: parts.onShutdown,
  };
}

function* heldTasks({ active, roster }: EnginePortOptions, isMeant: (run: ActiveRun) => boolean): Generator<HeldTask> {
  for (const run of active.values()) {
    if (!isMeant(run)) continue;
    const { delivery, headers, message, settled, executor, startedMs } = run;
    yield {
      ...{ headers, message, queue: delivery.queue, redelivered: delivery.redelivered, acknowledged: settled },
      startedAtMs: executor < 0 ? null : performance.timeOrigin + startedMs,
      pid: roster.pidOf(executor),
    };
  }
}

function figures({ options, brokerUrl, executors, roster, vitals }: EnginePortOptions): WorkerFigures {
  const { pool, tasksPerExecutor, timeLimitMs, softTimeLimitMs } = options;
  return {
    ...{ totals: vitals.totals(), uptimeMs: vitals.uptimeMs, pool, slots: executors.slots, pids: roster.pids },
    ...{ tasksPerExecutor, timeLimitMs, softTimeLimitMs, brokerUrl },
  };
}

/** Celery's names, where it has one for the same thing. */
function settings(parts: EnginePortOptions, withDefaults: boolean): Readonly<Record<string, unknown>> {
  const { options, hello, brokerUrl, executors, subscriptions } = parts;
  const all: Record<string, unknown> = {
    broker_url: maskUrl(brokerUrl),
    result_backend: maskUrl(options.resultUrl ?? hello.resultUrl),
    task_default_queue: hello.defaultQueue,
    worker_pool: options.pool,
    worker_concurrency: executors.slots,
    worker_executors: executors.count,
    worker_queues: subscriptions.names,
    worker_lease: options.leaseMs / 1_000,
    worker_send_task_events: options.events ?? hello.events,
    worker_max_tasks_per_child: options.tasksPerExecutor,
    task_time_limit: inSeconds(options.timeLimitMs),
    task_soft_time_limit: inSeconds(options.softTimeLimitMs),
    result_expires: inSeconds(hello.resultTtlMs),
    result_extended: hello.extendedResults,
  };
  return withDefaults ? all : Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null));
}

const inSeconds = (ms: number | null): number | null => (ms === null ? null : ms / 1_000);
