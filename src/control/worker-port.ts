/**
 * What remote commands may ask of a worker, and do to it. The commands (`commands/`) know nothing else of workers; the worker
 * implements it in `worker/engine/control/worker-port.ts` and knows nothing of how a command is spelt.
 *
 * Everything here answers at once from what the engine has in memory, or starts something and says that it has begun.
 */
import type { QueueDeclaration } from '../brokers/queue-table.js';
import type { WireMessage } from '../wire/message.js';
import type { TaskHeaders } from '../wire/task-message.js';

/** A task that the worker holds. */
export interface HeldTask {
  readonly headers: TaskHeaders;
  /** Its body is still encoded. */
  readonly message: WireMessage;
  readonly queue: string;
  readonly redelivered: boolean;
  /** The broker has been told that it is done (early ack). */
  readonly acknowledged: boolean;
  /** Wall milliseconds; `null` = it has not begun. */
  readonly startedAtMs: number | null;
  /** Of the process that runs it. */
  readonly pid: number | null;
}

/** A task that the worker can run. */
export interface TaskInfo {
  readonly name: string;
  readonly ack: 'late' | 'early';
  readonly ignoreResult: boolean;
  readonly trackStarted: boolean;
  /** Limits that hold now, live changes included; `null` = none of its own. */
  readonly rateLimit: string | null;
  readonly timeLimitMs: number | null;
  readonly softTimeLimitMs: number | null;
}

/** Figures for `stats`. */
export interface WorkerFigures {
  /** Tasks accepted since the start, by name; bounded as the worker's report is. */
  readonly totals: Readonly<Record<string, number>>;
  readonly uptimeMs: number;
  /** `threads`, `processes`, … */
  readonly pool: string;
  /** Tasks at a time. */
  readonly slots: number;
  /** Processes in which tasks run. */
  readonly pids: readonly number[];
  /** Runs after which an executor is replaced; `null` = never. */
  readonly tasksPerExecutor: number | null;
  readonly timeLimitMs: number | null;
  readonly softTimeLimitMs: number | null;
  readonly brokerUrl: string;
}

/** How a revocation treats what has begun. */
export interface RevokeHow {
  readonly terminate: boolean;
  /** A signal's name, with or without SIG, or its number. */
  readonly signal: string;
}

/** What the worker knows of revoked tasks, and does about them. */
export interface RevokePort {
  /** Resolves with the ids of those that had begun and were told to end. */
  revoke(ids: readonly string[], how: RevokeHow): readonly string[];
  /** Stores REVOKED for those that have not begun, for who waits for them. Never rejects; given up after a few seconds. */
  store(ids: readonly string[]): Promise<void>;
  /** The same by values of stamped headers. */
  revokeByStamps(headers: ReadonlyMap<string, readonly string[]>, how: RevokeHow): readonly string[];
  /** Another node's revocations. */
  hear(ids: readonly string[]): void;
  /** Ids that it has heard of, newest first, as many as fit into so many bytes of JSON. */
  list(limitBytes: number): readonly string[];
}

export interface EventPort {
  /** `false`: they were on already. */
  enable(): boolean;
  /** `false`: they were off already. */
  disable(): boolean;
  heartbeat(): void;
}

export interface RateLimitPort {
  /** @returns `undefined`: no such task. @throws ConfigError `E_CONFIG_RANGE` */
  set(task: string, limit: unknown): string | null | undefined;
}

/** Pools that can change while they run. */
export interface PoolPort {
  /** More slots. @throws PoolError when this pool cannot, or under autoscale */
  grow(count: number): void;
  /** Fewer; what runs ends first. */
  shrink(count: number): void;
  /** Sets either bound, and tells both. @throws PoolError when the worker does not scale by itself */
  autoscale(max: number | null, min: number | null): { readonly max: number; readonly min: number };
}

/** Refused, in words for whoever asked. */
export class PoolError extends Error {
  override readonly name = 'ValueError';
}

/** What a custom command's handler gave. */
export interface CustomCommands {
  has(name: string): boolean;
  /** Runs it in an executor. Rejects with what it threw, or when no executor answers. */
  run(name: string, args: Readonly<Record<string, unknown>>): Promise<unknown>;
}

/** A worker, as its remote commands see it. */
export interface WorkerPort {
  readonly nodeName: string;
  /** Has begun and has not ended. */
  active(): Iterable<HeldTask>;
  /** Waits for a slot. */
  reserved(): Iterable<HeldTask>;
  /** Tasks that are held here until their time; all others wait in the broker. */
  scheduled(): Iterable<{ readonly etaMs: number; readonly task: HeldTask }>;
  /** By name. */
  tasks(): Iterable<TaskInfo>;
  figures(): WorkerFigures;
  /** Settings that differ from their defaults. Secrets are masked. */
  settings(withDefaults: boolean): Readonly<Record<string, unknown>>;
  /** Consumed now. */
  queues(): readonly string[];
  /** How the app declares it, where the broker takes declarations; `null`: by its name alone. */
  declaration(queue: string): QueueDeclaration | null;
  /** Begins to consume it; a failure is logged. */
  addQueue(queue: string): void;
  /** Stops consuming it; what is held goes on. */
  removeQueue(queue: string): void;
  /** Reads what people have paused again. Resolves with what holds here then. */
  refreshPauses(): Promise<{ readonly queues: readonly string[]; readonly tasks: readonly string[] }>;
  /** Chords are open that are due at this wall time: it looks for overdue ones then. */
  chordsDue(atMs: number): void;
  /** Of runs that start from now on; `null` = the worker's own. @returns `false`: no such task */
  setTimeLimits(task: string, limits: { readonly softMs: number | null; readonly hardMs: number | null }): boolean;
  readonly rateLimits: RateLimitPort;
  readonly revocation: RevokePort;
  readonly events: EventPort;
  readonly pool: PoolPort;
  readonly custom: CustomCommands;
  /** Warm: begins now. */
  shutdown(reason: string): void;
}
