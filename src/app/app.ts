/**
 * The app: configuration, tasks, hooks, and the gateway through which they reach broker and results. Nothing connects in
 * the constructor. Knows no worker: `index.ts` gives it a way to start one. Next stop: `task.ts`. Long because every public method
 * of an app has its documentation here.
 */

import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { Broker } from '../brokers/broker.js';
import { type Clock, systemClock } from '../core/clock.js';
import { BrokerError, ConfigError, codeOf, toError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { ClientGateway } from './client-gateway.js';
import { type AppConfig, type AppOptions, resolveConfig } from './config.js';
import { type ControlCommandHandler, ControlCommands } from './control/control-commands.js';
import type { Control } from './control/control-types.js';
import type { EventSource, EventStream, EventsOptions } from './events/event-stream.js';
import type { Gateway } from './gateway.js';
import type { ResolvedMiddleware } from './middleware.js';
import { Publisher } from './publish.js';
import { checkTaskName, Registry } from './registry.js';
import type { ScheduleOptions } from './schedules/schedule-types.js';
import { Schedules } from './schedules/schedules.js';
import { makeFn, makeObjectTask, makeRemote, type TaskHost } from './task.js';
import { activeRun } from './task-context.js';
import { type HandleOwner, handlesIn, ResultHandle, type TaskHandle } from './task-handle.js';
import type {
  AnyObjectTask,
  CheckedObjectTask,
  FnOptions,
  InputOf,
  ObjectSchema,
  ObjectTask,
  OutputOf,
  RemoteArguments,
  RemoteBy,
  RemoteRest,
  RemoteTask,
  Task,
} from './task-types.js';
import type { WireSafeArguments, WireSafeResult } from './wire-safe.js';
import type { Worker, WorkerOptions } from './worker-types.js';
import { canvasFactsOf } from './workflows/canvas-facts.js';
import type { AnyHandle } from './workflows/group-handle.js';
import { loadSaved } from './workflows/saved.js';
import { CanvasSignature } from './workflows/signature.js';
import type { HandleOfAny, Signature } from './workflows/signature-types.js';

/** Marks an app, so that it is found among a module's exports even when another copy of the package made it. */
const APP_BRAND: unique symbol = Symbol.for('lovage.app') as never;

/** What an `onStart` or `onStop` hook is told about the executor it runs in. */
export interface ExecutorScope {
  readonly logger: Logger;
}

/** Runs once per executor (thread, child or loop); awaited. */
export type ExecutorHook = (scope: ExecutorScope) => unknown;

/** What remote control needs of its app. */
export interface ControlHost extends HandleOwner {
  readonly logger: Logger;
  readonly json: AppConfig['json'];
  /** @throws BrokerError `E_NOT_SUPPORTED` inside a task */
  broker(): Promise<Broker>;
}

/** What an app is given from above. */
export interface AppParts {
  startWorker(app: App, options: WorkerOptions): Promise<Worker>;
  createControl(host: ControlHost): Control;
  openEvents(source: EventSource, options: EventsOptions): EventStream;
  /** Throws for an id or options that are wrong. */
  checkSchedule(id: unknown, options: object): void;
}

/** An app; made with `createApp`. */
export class App {
  readonly [APP_BRAND] = true;
  /** @internal */
  readonly config: AppConfig;
  /** @internal */
  readonly registry = new Registry();
  /** @internal */
  readonly controlCommands = new ControlCommands();
  /** @internal */
  readonly schedules: Schedules;
  /** @internal */
  readonly startHooks: ExecutorHook[] = [];
  /** @internal */
  readonly stopHooks: ExecutorHook[] = [];
  readonly #parts: AppParts;
  readonly #host: TaskHost;
  readonly #publisher: Publisher;
  readonly #handleOwner: HandleOwner;
  #clock: Clock = systemClock;
  #own: ClientGateway | null = null;
  #attached: Gateway | null = null;
  #control: Control | null = null;
  /** Those that listen; each takes itself out. */
  readonly #streams = new Set<EventStream>();
  #closed = false;

  /** @internal */
  constructor(options: AppOptions, parts: AppParts) {
    this.config = resolveConfig(options);
    this.#parts = parts;
    this.schedules = new Schedules(parts.checkSchedule);
    this.#publisher = new Publisher(this.config, this.#gateway, systemClock);
    this.#handleOwner = { gateway: this.#gateway, resultTtlMs: this.config.resultTtlMs, nowMs: () => this.#clock.nowMs() };
    this.#host = {
      config: this.config,
      publisher: this.#publisher,
      signatures: {
        publisher: this.#publisher,
        sendTimeoutMs: this.config.sendTimeoutMs,
        publishHooks: this.config.middleware.publish,
        resultTtlMs: this.config.resultTtlMs,
        canvasFacts: () => canvasFactsOf(this.config, this.registry),
        nowMs: () => this.#clock.nowMs(),
        openChords: (chords) => this.#gateway().openChords(chords),
        handles: (tree, unkept) => handlesIn(tree, this.#handleOwner, unkept),
      },
      handle: (id, keepsResult, deduplicated, etaMs) => new ResultHandle(id, keepsResult, this.#handleOwner, deduplicated, etaMs),
    };
  }

  /** The app's name. */
  get name(): string {
    return this.config.name;
  }

  /** The middleware list, split by side. */
  get middleware(): ResolvedMiddleware {
    return this.config.middleware;
  }

  /**
   * Defines a task that takes one object, checked by a schema. The recommended form: its fields travel as keywords, so
   * Python calls it with keyword arguments.
   * @throws ConfigError `E_CONFIG_*`, `E_TASK_NAME_TAKEN`
   */
  task<S extends ObjectSchema, O extends StandardSchemaV1, const N extends string>(
    definition: CheckedObjectTask<S, O, N>,
  ): Task<[input: InputOf<S>], OutputOf<O>, N, 'object'>;
  task<S extends ObjectSchema, Returned, const N extends string>(
    definition: ObjectTask<S, Returned, N>,
  ): Task<[input: InputOf<S>], Awaited<Returned>, N, 'object'>;
  task(definition: AnyObjectTask): unknown {
    if (typeof definition !== 'object' || definition === null)
      throw new ConfigError('E_CONFIG_TYPE', 'app.task() takes one object: { name, input, run, … }');
    checkTaskName(definition.name);
    const { task, definition: made } = makeObjectTask(this.#host, definition);
    this.registry.add(made);
    return task;
  }

  /**
   * Defines a task that takes its arguments by position, as Celery's do. Its context is `taskContext()`.
   * @throws ConfigError `E_CONFIG_*`, `E_TASK_NAME_TAKEN`
   */
  fn<A extends readonly unknown[], Returned, const N extends string>(
    name: N,
    handler: ((...args: A) => Returned & WireSafeResult<Awaited<Returned>>) & WireSafeArguments<A>,
    options: FnOptions<Awaited<NoInfer<Returned>>> = {},
  ): Task<A, Awaited<Returned>, N> {
    checkTaskName(name);
    const { task, definition } = makeFn(this.#host, name, handler as (...args: never[]) => unknown, options as FnOptions<never>);
    this.registry.add(definition);
    return task as unknown as Task<A, Awaited<Returned>, N>;
  }

  /**
   * Types for a task that lives elsewhere, in Python for example. A tuple goes by position; an object goes by keyword and
   * needs `{ by: 'keyword' }`, because types are gone at run time.
   * @throws ConfigError `E_CONFIG_*`
   */
  remote<A extends object, R>(name: string, ...rest: RemoteRest<A>): RemoteTask<RemoteArguments<A>, R, string, RemoteBy<A>> {
    checkTaskName(name);
    return makeRemote(this.#host, name, rest[0] ?? {}) as unknown as RemoteTask<RemoteArguments<A>, R, string, RemoteBy<A>>;
  }

  /**
   * A signature from Celery's dict form: an object or JSON text, from `signature.toJSON()` or from Python. What it misses and gives
   * is not checked, so say it: `app.signature<number, [previous: string]>(json)`. One that names no queue goes where the routes say.
   * @throws WireError `E_DECODE` for what is no signature or has a part that is none; ArgumentError `E_NOT_SERIALISABLE`
   * @remarks Source: Celery's `app.signature()`.
   */
  signature<R = unknown, M extends readonly unknown[] = []>(given: unknown): Signature<M, R, string, HandleOfAny<R>> {
    return CanvasSignature.read(this.#host.signatures, given) as unknown as Signature<M, R, string, HandleOfAny<R>>;
  }

  /** The handle of a task that was sent before, by its id. */
  handle<R = unknown>(id: string): TaskHandle<R> {
    return new ResultHandle<R>(id, true, this.#handleOwner);
  }

  /**
   * What `handle.save()` saved under this id, or Python's `GroupResult.save()` on Redis; `null`: nothing, or not any more.
   * @throws ResultError `E_NOT_SUPPORTED` with `rpc:` results; WireError `E_DECODE`
   * @remarks Source: Celery's `GroupResult.restore()`.
   */
  async restore(id: string): Promise<AnyHandle | null> {
    const tree = await loadSaved(this.#handleOwner, id);
    return tree && handlesIn(tree, this.#handleOwner);
  }

  /** Asks and steers the workers of this app's broker, those in Python too. */
  get control(): Control {
    const { logger, json } = this.config;
    this.#control ??= this.#parts.createControl({ ...this.#handleOwner, logger, json, broker: this.#broker });
    return this.#control;
  }

  /**
   * Defines a remote command of this app's own, answered by its workers to `app.control.broadcast`, `celery inspect` and
   * `celery control`. It runs in one executor of each worker that is asked, beside tasks, and should answer within a moment.
   * @param name letters, digits and `_`; none of Celery's own commands
   * @param handler gets the keyword arguments; what it returns is the reply, what it throws the reply's error
   * @throws ConfigError `E_CONFIG_RANGE`, `E_CONFIG_TYPE`, `E_TASK_NAME_TAKEN`
   * @remarks Source: Celery's `inspect_command` and `control_command`.
   */
  controlCommand(name: string, handler: ControlCommandHandler): void {
    this.controlCommands.add(name, handler);
  }

  /**
   * Runs a signature by the clock: `app.schedule('nightly', { cron: '0 2 * * *', timezone: 'Europe/Berlin' }, report.si())`. Schedulers
   * (`lovage beat`, `lovage worker --beat`) run each slot once, however many there are. An entry is known by its id: one that was changed
   * keeps its history, one that is gone from the code disappears when a scheduler starts.
   * @param id 1 to 200 characters, one of a kind in this app
   * @throws ConfigError `E_SCHEDULE`, `E_SCHEDULE_NEVER`, `E_CONFIG_*`; ArgumentError `E_ARGUMENTS`
   * @remarks Source: Celery's `beat_schedule`.
   */
  schedule(id: string, options: ScheduleOptions, signature: Signature<[], unknown, string, unknown>): void {
    this.schedules.add(id, options, signature);
  }

  /** Before the first task of each executor: open pools, load models. A hook that throws keeps the executor from starting. */
  onStart(hook: ExecutorHook): void {
    this.startHooks.push(hook);
  }

  /** After the last task of each executor, in reverse order. */
  onStop(hook: ExecutorHook): void {
    this.stopHooks.push(hook);
  }

  /** Starts a worker for this app in this process. */
  worker(options: WorkerOptions = {}): Promise<Worker> {
    return this.#parts.startWorker(this, options);
  }

  /**
   * What happens in the cluster, from Python's workers too: `for await (const event of app.events({ types: ['task-failed'] }))`.
   * Workers send task events while somebody listens (see the option `events`); a loop that is too slow loses the oldest, with a count.
   * @throws ConfigError `E_CONFIG_TYPE`, `E_CONFIG_RANGE`; the loop throws what keeps it from listening, inside a task BrokerError `E_NOT_SUPPORTED`
   * @remarks Source: Celery's `app.events.Receiver`.
   */
  events(options: EventsOptions = {}): EventStream {
    const stream: EventStream = this.#parts.openEvents(
      {
        broker: this.#broker,
        logger: this.config.logger,
        onClosed: () => this.#streams.delete(stream),
      },
      options,
    );
    this.#streams.add(stream);
    return stream;
  }

  /** Sends what waits, then closes the connections of this app. Its workers are closed by themselves. */
  async close(): Promise<void> {
    await this.#publisher.settled();
    this.#closed = true;
    await Promise.all([...this.#streams].map((stream) => stream.close()));
    await this.#own?.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /**
   * Lets another way to broker and results take the place of the app's own connections; `null` goes back to those.
   * @internal
   */
  attachGateway(gateway: Gateway | null, clock: Clock = systemClock): void {
    this.#attached = gateway;
    this.#clock = clock;
    this.#publisher.reset(clock);
  }

  /** @internal */
  async runStartHooks(scope: ExecutorScope = this.config): Promise<void> {
    for (const hook of this.startHooks) await hook(scope);
  }

  /**
   * Runs all hooks even if some throw; the first error is thrown at the end.
   * @internal
   */
  async runStopHooks(scope: ExecutorScope = this.config): Promise<void> {
    const errors: Error[] = [];
    for (const hook of this.stopHooks.toReversed()) {
      try {
        await hook(scope);
      } catch (thrown) {
        errors.push(toError(thrown));
      }
    }
    if (errors[0]) throw errors[0];
  }

  readonly #gateway = (): Gateway => {
    if (this.#attached) return this.#attached;
    if (this.#closed)
      throw new BrokerError('E_CLOSED', `app ${this.config.name} was closed: create a new one, or close it later`);
    return this.#ownGateway();
  };

  /** The broker itself. Beside a worker in this process, which has taken the app's connections over, another one; not inside its tasks. */
  readonly #broker = async (): Promise<Broker> => {
    try {
      return await this.#gateway().broker();
    } catch (error) {
      if (codeOf(error) !== 'E_NOT_SUPPORTED' || activeRun.getStore() !== undefined) throw error;
      return this.#ownGateway().broker();
    }
  };

  #ownGateway(): ClientGateway {
    this.#own ??= new ClientGateway(this.config);
    return this.#own;
  }
}
