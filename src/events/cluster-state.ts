/**
 * What events add up to: the workers and tasks of a cluster. Pure: the time comes in with each event. Bounded whatever
 * comes: so many workers, tasks and names, and texts are cut. Source: celery.events.state.
 *
 * Order: events come late, and in any order. Of one node its logical clock counts, of different nodes the time; an event that
 * is older than what is known fills in what is missing and changes no state. A client's clock is in step with nobody's,
 * so `task-sent` never does.
 */
import type { WireEvent } from '../wire/event-message.js';
import { clip } from '../wire/python-repr.js';
import type {
  ClusterLimits,
  ClusterTask,
  ClusterTaskName,
  ClusterTaskState,
  ClusterTotals,
  ClusterWorker,
} from './cluster-types.js';

const HOUR_MS = 3_600_000;
const LONGEST_ID = 1_024;
const LONGEST_TEXT = 1_024;
const LONGEST_TRACEBACK = 16_384;
/** Names of tasks with totals; those beyond share one. */
const MAX_NAMES = 1_000;
const OTHER = '(other)';
/** A worker counts as alive until twice its time between heartbeats is over, as in Celery. */
const ALIVE_FACTOR = 2;

const STATES: Readonly<Record<string, ClusterTaskState>> = {
  'task-sent': 'SENT',
  'task-received': 'RECEIVED',
  'task-started': 'STARTED',
  'task-retried': 'RETRY',
  'task-succeeded': 'SUCCESS',
  'task-failed': 'FAILURE',
  'task-revoked': 'REVOKED',
  'task-rejected': 'REJECTED',
  'task-cancelled': 'CANCELLED',
};
const ENDED: ReadonlySet<ClusterTaskState> = new Set(['SUCCESS', 'FAILURE', 'REVOKED', 'REJECTED']);

/** When the event was that gave a task its state. */
interface Mark {
  readonly hostname: string;
  readonly clock: number;
  readonly timestamp: number;
}

/** What is told outside is for reading. */
type Mutable<T> = { -readonly [K in keyof T]: T[K] };

interface Entry {
  readonly task: Mutable<ClusterTask>;
  mark: Mark | null;
}

/** Workers and tasks of a cluster, made of the events of `app.events()`. Source: celery.events.state. */
export class ClusterState {
  readonly #totals: Mutable<ClusterTotals> = { events: 0, received: 0, succeeded: 0, failed: 0, retried: 0, revoked: 0 };
  readonly #maxWorkers: number;
  readonly #maxTasks: number;
  readonly #keepMs: number;
  /** Least recently heard of first; bounded by `maxWorkers` and `keepMs`. */
  readonly #workers = new Map<string, Mutable<ClusterWorker>>();
  /** Two maps by id, least recently heard of first; together bounded by `maxTasks`, and those that have ended by `keepMs`. */
  readonly #open = new Map<string, Entry>();
  readonly #ended = new Map<string, Entry>();
  /** Bounded by `MAX_NAMES`. */
  readonly #names = new Map<string, Mutable<ClusterTaskName>>();

  constructor({ maxWorkers = 5_000, maxTasks = 10_000, keepMs = HOUR_MS }: ClusterLimits = {}) {
    this.#maxWorkers = Math.max(1, maxWorkers);
    this.#maxTasks = Math.max(1, maxTasks);
    this.#keepMs = keepMs;
  }

  /** Since the first event. */
  get totals(): ClusterTotals {
    return this.#totals;
  }

  /** Takes an event in. @param receivedMs wall milliseconds here, by which workers count as alive */
  apply(event: WireEvent, receivedMs: number): void {
    if (event.hostname.length > LONGEST_ID) return;
    this.#totals.events += 1;
    const isSent = event.type === 'task-sent';
    if (!isSent && (event.type.startsWith('worker-') || STATES[event.type] !== undefined)) this.#hearWorker(event, receivedMs);
    const state = STATES[event.type];
    const { uuid } = event;
    if (state !== undefined && typeof uuid === 'string' && uuid !== '' && uuid.length <= LONGEST_ID)
      this.#hearTask(uuid, state, event);
  }

  /** Forgets workers that are long gone and tasks that have long ended, and tells who is alive. Call it now and then. */
  expire(nowMs: number): void {
    for (const [name, worker] of this.#workers) {
      worker.alive = isAlive(worker, nowMs);
      if (!worker.alive && nowMs - worker.lastSeenMs > this.#keepMs) this.#workers.delete(name);
    }
    for (const [id, { task }] of this.#ended) {
      if (nowMs - (task.endedAtMs ?? 0) <= this.#keepMs) break;
      this.#ended.delete(id);
    }
  }

  /** By name. */
  workers(): ClusterWorker[] {
    return [...this.#workers.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** A task by its id, if it is remembered. */
  task(id: string): ClusterTask | undefined {
    return (this.#open.get(id) ?? this.#ended.get(id))?.task;
  }

  /** Most recently heard of first; those that have not ended before the others. */
  tasks(): ClusterTask[] {
    return [...this.#ended.values(), ...this.#open.values()].map(({ task }) => task).reverse();
  }

  /** Those that run now, as far as events tell: the longest running first. */
  running(): ClusterTask[] {
    const running: ClusterTask[] = [];
    for (const { task } of this.#open.values()) if (task.state === 'STARTED') running.push(task);
    return running.sort((a, b) => (a.startedAtMs ?? 0) - (b.startedAtMs ?? 0));
  }

  /** Totals by task name, the most time-consuming first. */
  names(): ClusterTaskName[] {
    return [...this.#names.values()].sort((a, b) => b.runtimeMs - a.runtimeMs);
  }

  #hearWorker(event: WireEvent, receivedMs: number): void {
    const name = event.hostname;
    const worker = this.#workers.get(name) ?? newWorker(name);
    this.#workers.delete(name);
    this.#workers.set(name, worker);
    if (this.#workers.size > this.#maxWorkers) deleteFirst(this.#workers);
    worker.lastSeenMs = Math.max(worker.lastSeenMs, receivedMs);
    if (event.type.startsWith('worker-')) {
      worker.offline = event.type === 'worker-offline';
      worker.pid = event.pid ?? worker.pid;
      worker.freq = positive(event.freq) ?? worker.freq;
      worker.active = count(event.active) ?? worker.active;
      worker.processed = count(event.processed) ?? worker.processed;
      worker.droppedEvents = count(event.dropped_events) ?? 0;
      if (Array.isArray(event.loadavg)) worker.loadavg = event.loadavg.slice(0, 3).map((load) => Number(load));
      const software = [event.sw_ident, event.sw_ver].filter((part) => typeof part === 'string').join(' ');
      if (software !== '') worker.software = clip(software, 100);
    }
    worker.alive = isAlive(worker, receivedMs);
  }

  #hearTask(id: string, state: ClusterTaskState, event: WireEvent): void {
    const entry = this.#open.get(id) ?? this.#ended.get(id) ?? { task: newTask(id), mark: null };
    const { task } = entry;
    fillIn(task, event);
    const isNewer = state === 'SENT' ? false : entry.mark === null || isAfter(event, entry.mark);
    if (isNewer) {
      entry.mark = { hostname: event.hostname, clock: event.clock, timestamp: event.timestamp };
      this.#change(task, state, event);
    }
    this.#count(task, event);
    this.#open.delete(id);
    this.#ended.delete(id);
    (ENDED.has(task.state) ? this.#ended : this.#open).set(id, entry);
    if (this.#open.size + this.#ended.size > this.#maxTasks) deleteFirst(this.#ended.size > 0 ? this.#ended : this.#open);
  }

  #change(task: Mutable<ClusterTask>, state: ClusterTaskState, event: WireEvent): void {
    task.state = state;
    task.worker = event.hostname;
    const atMs = event.timestamp * 1_000;
    if (state === 'RECEIVED' && task.endedAtMs !== null) {
      // It runs again: a retry that failed, a replay, a redelivery.
      task.endedAtMs = task.startedAtMs = task.runtimeMs = null;
    }
    if (state === 'STARTED') task.startedAtMs = atMs;
    if (state === 'SUCCESS') task.exception = task.traceback = null;
    if (ENDED.has(state)) task.endedAtMs = atMs;
    if (state === 'RETRY' || state === 'CANCELLED') task.startedAtMs = null;
  }

  #count(task: ClusterTask, event: WireEvent): void {
    const totals = this.#totals;
    if (event.type === 'task-received') totals.received += 1;
    if (event.type === 'task-revoked') totals.revoked += 1;
    const ended =
      event.type === 'task-succeeded'
        ? 'succeeded'
        : event.type === 'task-failed'
          ? 'failed'
          : event.type === 'task-retried'
            ? 'retried'
            : null;
    if (ended === null) return;
    totals[ended] += 1;
    if (task.name === null) return;
    const name = this.#names.has(task.name) || this.#names.size < MAX_NAMES - 1 ? task.name : OTHER;
    const row = this.#names.get(name) ?? { name, succeeded: 0, failed: 0, retried: 0, runtimeMs: 0, longestMs: 0 };
    this.#names.set(name, row);
    row[ended] += 1;
    if (ended !== 'succeeded') return;
    row.runtimeMs += task.runtimeMs ?? 0;
    row.longestMs = Math.max(row.longestMs, task.runtimeMs ?? 0);
  }
}

/** What events say of a task whatever their order; a later word replaces an earlier one of the same kind. */
function fillIn(task: Mutable<ClusterTask>, event: WireEvent): void {
  task.name = text(event.name) ?? task.name;
  task.args = text(event.args) ?? task.args;
  task.kwargs = text(event.kwargs) ?? task.kwargs;
  task.rootId = text(event.root_id) ?? task.rootId;
  task.parentId = text(event.parent_id) ?? task.parentId;
  task.eta = text(event.eta) ?? task.eta;
  task.expires = text(event.expires) ?? task.expires;
  task.queue = text(event.queue) ?? task.queue;
  task.result = text(event.result) ?? task.result;
  task.exception = text(event.exception) ?? task.exception;
  task.traceback = text(event.traceback, LONGEST_TRACEBACK) ?? task.traceback;
  const retries = count(event.retries);
  if (retries !== null) task.retries = Math.max(task.retries ?? 0, retries);
  const seconds = typeof event.runtime === 'number' && event.runtime >= 0 ? event.runtime : null;
  if (seconds !== null) task.runtimeMs = seconds * 1_000;
  const atMs = event.timestamp * 1_000;
  if (event.type === 'task-sent') task.sentAtMs = atMs;
  if (event.type === 'task-received') task.receivedAtMs = Math.max(task.receivedAtMs ?? 0, atMs);
}

function isAfter(event: WireEvent, mark: Mark): boolean {
  if (event.hostname === mark.hostname && event.clock !== mark.clock) return event.clock > mark.clock;
  if (event.timestamp !== mark.timestamp) return event.timestamp > mark.timestamp;
  return event.clock >= mark.clock;
}

function isAlive(worker: ClusterWorker, nowMs: number): boolean {
  return !worker.offline && nowMs - worker.lastSeenMs < worker.freq * 1_000 * ALIVE_FACTOR;
}

function newWorker(name: string): Mutable<ClusterWorker> {
  return {
    ...{ name, alive: true, pid: null, freq: 60, active: null, processed: null, loadavg: null, software: null },
    ...{ droppedEvents: 0, lastSeenMs: 0, offline: false },
  };
}

/** One literal: made of spread parts it would be a slow object, and there is one a task. */
function newTask(id: string): Mutable<ClusterTask> {
  return {
    id,
    state: 'SENT',
    name: null,
    worker: null,
    queue: null,
    args: null,
    kwargs: null,
    rootId: null,
    parentId: null,
    retries: null,
    eta: null,
    expires: null,
    sentAtMs: null,
    receivedAtMs: null,
    startedAtMs: null,
    endedAtMs: null,
    runtimeMs: null,
    result: null,
    exception: null,
    traceback: null,
  };
}

function text(value: unknown, longest = LONGEST_TEXT): string | null {
  if (typeof value !== 'string') return null;
  return value.length <= longest ? value : `${clip(value, longest - 3)}...`;
}

function count(value: unknown): number | null {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : null;
}

function positive(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) && value > 0 ? value : null;
}

function deleteFirst(map: Map<string, unknown>): void {
  for (const key of map.keys()) {
    map.delete(key);
    return;
  }
}
