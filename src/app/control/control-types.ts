/** The public face of remote control, `app.control`. What it does lives in `control/`, which the app must not know; `index.ts` joins them. */
import type { Duration } from '../../core/duration.js';
import type { RevokeIdsOptions, RevokeOptions, RevokeOutcome } from './revoke.js';

/** Which workers are asked, and for how long their answers are awaited. */
export interface ControlOptions {
  /** Node names. @defaultValue all workers */
  readonly destination?: string | readonly string[];
  /** Workers whose names match; used when there is no destination. @remarks Source: Celery 5's `pattern`. */
  readonly pattern?: string;
  /** How `pattern` is read: shell wildcards, or a regular expression from the start of the name. @defaultValue `'glob'` */
  readonly matcher?: 'glob' | 'pcre';
  /**
   * How long answers are awaited. Ends earlier when all have answered, which Redis and the file broker can tell, and RabbitMQ from
   * the second question within a minute on. @defaultValue `'1s'`
   */
  readonly timeout?: Duration;
  /** Ends after so many answers. @defaultValue no limit */
  readonly limit?: number;
  /** Gives up at once. */
  readonly signal?: AbortSignal;
  /** Hears of each node as it answers; not inside a task. */
  readonly onAnswer?: (node: string) => void;
}

/** What workers answered. */
export interface ControlAnswers<T = unknown> {
  /** By node name, in the order of their arrival. */
  readonly answers: ReadonlyMap<string, T>;
  /** What workers that refused or could not answer said, by node name. */
  readonly errors: ReadonlyMap<string, string>;
  /** How many heard the request, as far as the broker can tell; others than those that it was meant for are among them. */
  readonly heardBy: number | null;
  /** All that were asked have answered, as far as anybody knows. */
  readonly complete: boolean;
  /** Names under which more than one worker answered; only the last answer of each is kept. */
  readonly duplicates: readonly string[];
}

/** A task that a worker holds. @remarks Source: Celery's request info, as `inspect().active()` gives it. */
export interface TaskRequest {
  readonly id: string;
  readonly name: string;
  /** Values, or a text where they are too large or not to be shown. */
  readonly args: unknown;
  readonly kwargs: unknown;
  readonly type: string;
  readonly hostname: string;
  /** Unix seconds; `null` = it has not begun. */
  readonly time_start: number | null;
  readonly acknowledged: boolean;
  readonly delivery_info: {
    readonly exchange: string;
    readonly routing_key: string;
    readonly priority: number | null;
    readonly redelivered: boolean | null;
  };
  readonly worker_pid: number | null;
}

/** What a control command answers. */
export interface Done {
  readonly ok: string;
}

/** A pause, as `control.paused()` lists it. */
export interface PausedName {
  readonly kind: 'queue' | 'task';
  readonly name: string;
  readonly since: Date;
}

/** What became of a change of pauses. */
export interface PauseReport {
  /** Names that were paused (or resumed) by this call; the others were already. */
  readonly changed: readonly string[];
  /** What running workers said; workers in Python answer with an error, for they know no pauses. */
  readonly workers: ControlAnswers<{ readonly queues: readonly string[]; readonly tasks: readonly string[] }>;
}

/**
 * Asks and steers the workers of this broker, those in Python too. Every method resolves as soon as all have answered.
 *
 * @throws (each) BrokerError `E_BROKER_UNREACHABLE`; ConfigError `E_CONFIG_*` for wrong options. Nobody answering is no error: `answers` is empty.
 */
export interface Control {
  /** Which workers live. */
  ping(options?: ControlOptions): Promise<ControlAnswers<{ readonly ok: 'pong' }>>;
  /** Tasks that run. */
  active(options?: ControlOptions): Promise<ControlAnswers<readonly TaskRequest[]>>;
  /** Tasks that a worker has taken and not begun. */
  reserved(options?: ControlOptions): Promise<ControlAnswers<readonly TaskRequest[]>>;
  /** Tasks that a worker holds until their time; workers of ours leave most of them with the broker. */
  scheduled(
    options?: ControlOptions,
  ): Promise<ControlAnswers<readonly { readonly eta: string; readonly priority: number; readonly request: TaskRequest }[]>>;
  /** Ids of revoked tasks that a worker knows of. */
  revoked(options?: ControlOptions): Promise<ControlAnswers<readonly string[]>>;
  /** Names of tasks, with the given facts of each (`rate_limit`, for example). */
  registered(facts?: readonly string[], options?: ControlOptions): Promise<ControlAnswers<readonly string[]>>;
  /** Figures of the worker, its pool and its connection. */
  stats(options?: ControlOptions): Promise<ControlAnswers<Readonly<Record<string, unknown>>>>;
  /** Queues that are consumed. */
  activeQueues(options?: ControlOptions): Promise<ControlAnswers<readonly Readonly<Record<string, unknown>>[]>>;
  /** Where tasks are: `{ [id]: [state, request] }`; ids that a worker does not hold are absent. */
  queryTask(
    ids: string | readonly string[],
    options?: ControlOptions,
  ): Promise<ControlAnswers<Readonly<Record<string, readonly [state: string, request: TaskRequest]>>>>;
  /** A text about the worker's software. */
  report(options?: ControlOptions): Promise<ControlAnswers<Done>>;
  /** Settings, secrets masked. */
  conf(
    options?: ControlOptions & { readonly withDefaults?: boolean },
  ): Promise<ControlAnswers<Readonly<Record<string, unknown>>>>;
  /** Logical clocks. */
  clock(options?: ControlOptions): Promise<ControlAnswers<{ readonly clock: number }>>;

  /**
   * Keeps tasks from running; one that runs goes on unless `terminate` is given. What becomes of each, by its id. Python's workers
   * hear of it too. A handle's `revoke()` knows when its task was to run and needs no `eta`.
   */
  revoke(ids: string | readonly string[], options?: RevokeIdsOptions): Promise<ReadonlyMap<string, RevokeOutcome>>;
  /**
   * Keeps tasks with these stamps from running, those that come within three hours too: `{ tenant: ['acme'] }`. Told to the
   * workers that listen, which remember 100 headers with 1,000 values each.
   * @remarks Source: Celery 5.3's `control.revoke_by_stamped_headers`.
   */
  revokeByStampedHeaders(
    headers: Readonly<Record<string, string | readonly string[]>>,
    options?: ControlOptions & Pick<RevokeOptions, 'terminate'> & { readonly terminateSignal?: string },
  ): Promise<ControlAnswers<Done>>;

  /** How often a task may start, a worker: `'10/m'`, `'100/s'`, a number a second, 0 = no limit. */
  rateLimit(task: string, limit: string | number, options?: ControlOptions): Promise<ControlAnswers<Done>>;
  /** Time limits of runs that start from now on; left out = none. */
  timeLimit(
    task: string,
    limits: { readonly soft?: Duration; readonly hard?: Duration },
    options?: ControlOptions,
  ): Promise<ControlAnswers<Done>>;
  /** More slots. */
  poolGrow(by?: number, options?: ControlOptions): Promise<ControlAnswers<Done>>;
  /** Fewer slots; what runs ends first. */
  poolShrink(by?: number, options?: ControlOptions): Promise<ControlAnswers<Done>>;
  /** Bounds between which the pool grows and shrinks by itself. */
  autoscale(bounds: { readonly max?: number; readonly min?: number }, options?: ControlOptions): Promise<ControlAnswers<Done>>;
  /** Consumes one more queue, until the worker ends. */
  addConsumer(queue: string, options?: ControlOptions): Promise<ControlAnswers<Done>>;
  /** Stops consuming a queue, until the worker ends. To stop it for all workers and restarts: `pauseQueues`. */
  cancelConsumer(queue: string, options?: ControlOptions): Promise<ControlAnswers<Done>>;
  /** Sends events of tasks whether or not somebody listens. */
  enableEvents(options?: ControlOptions): Promise<ControlAnswers<Done>>;
  disableEvents(options?: ControlOptions): Promise<ControlAnswers<Done>>;
  /** Stops workers warmly. They do not answer: resolves with how many heard it, as far as the broker can tell. */
  shutdown(options?: Pick<ControlOptions, 'destination' | 'pattern' | 'matcher'>): Promise<number | null>;
  /** Any command, custom ones too, with keyword arguments as that command names them. */
  call<T = unknown>(
    command: string,
    args?: Readonly<Record<string, unknown>>,
    options?: ControlOptions,
  ): Promise<ControlAnswers<T>>;
  /** The same without waiting for anybody. Resolves with how many heard it, as far as the broker can tell. */
  cast(
    command: string,
    args?: Readonly<Record<string, unknown>>,
    options?: Pick<ControlOptions, 'destination' | 'pattern' | 'matcher'>,
  ): Promise<number | null>;

  /** Stops the consuming of queues by all workers of ours, those that start later too, until they are resumed. Sending goes on. */
  pauseQueues(queues: string | readonly string[], options?: Pick<ControlOptions, 'timeout'>): Promise<PauseReport>;
  resumeQueues(queues: string | readonly string[], options?: Pick<ControlOptions, 'timeout'>): Promise<PauseReport>;
  /** Keeps messages of tasks waiting while others of their queue run; nothing counts against them. */
  pauseTasks(tasks: string | readonly string[], options?: Pick<ControlOptions, 'timeout'>): Promise<PauseReport>;
  resumeTasks(tasks: string | readonly string[], options?: Pick<ControlOptions, 'timeout'>): Promise<PauseReport>;
  /** What is paused: queues first, by name. */
  paused(): Promise<readonly PausedName[]>;
}
