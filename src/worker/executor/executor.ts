/**
 * An executor: takes runs from its port, starts them, and posts their outcomes in batches. One a thread, child process
 * or loop. Holds no connection; owns what user code has started here.
 */
import type { App } from '../../app/app.js';
import type { TaskDefinition } from '../../app/definition.js';
import { builtinTasks } from '../../app/workflows/builtins.js';
import { canvasFactsOf } from '../../app/workflows/canvas-facts.js';
import type { CanvasFacts } from '../../canvas/routes.js';
import { systemClock } from '../../core/clock.js';
import { codeOf, toError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { ExecutorEnd, ExecutorHello, Outcome, RunRequest, TaskFacts, ToExecutor } from '../port.js';
import { addPart } from './added.js';
import { runCommand } from './commands.js';
import { type ExecuteOptions, type StartedRun, startRun } from './execute.js';
import { PortGateway } from './port-gateway.js';

/** An outcome waits no longer than this for others to share its message. A handler that keeps the loop for longer is not quick. */
const BATCH_MS = 2;

function factsOf({ name, options }: TaskDefinition): TaskFacts {
  const { ack, ignoreResult, resultTtlMs, trackStarted, softTimeLimitMs, timeLimitMs, rateLimit, retry } = options;
  const endlessRetry = retry?.max === Number.POSITIVE_INFINITY;
  return { name, ack, ignoreResult, resultTtlMs, trackStarted, softTimeLimitMs, timeLimitMs, rateLimit, endlessRetry };
}

/** What the engine must know of the app. */
function helloOf(app: App): ExecutorHello {
  const { config } = app;
  // Celery's own tasks say nothing of their results; a task of the app that says `false` keeps them for ever
  const { resultTtlMs } = config;
  const builtins = [...builtinTasks(app.registry).values()].map((definition) => ({ ...factsOf(definition), resultTtlMs }));
  const tasks = [...app.registry.all().map(factsOf), ...builtins];
  return {
    appName: config.name,
    pid: process.pid,
    brokerUrl: config.brokerUrl,
    resultUrl: config.resultUrl,
    defaultQueue: config.defaultQueue,
    queues: config.queues,
    resultTtlMs,
    extendedResults: config.extendedResults,
    events: config.events,
    tasks,
    canvas: canvasFactsOf(config, app.registry),
    commands: app.controlCommands.names,
  };
}

export interface ExecutorOptions {
  /** Memory shared with the engine, where there is such: tells which run keeps the loop. */
  readonly entered?: Int32Array;
  /** Resident bytes of the process beyond which it asks to be replaced; only where the process is the executor's own. */
  readonly maxRssBytes?: number | null;
}

export class Executor {
  readonly #app: App;
  readonly #end: ExecutorEnd;
  readonly #gateway: PortGateway;
  readonly #execute: ExecuteOptions;
  readonly #running = new Map<number, StartedRun>();
  /** Tasks of the app whose handler gave the loop back at once when it was started last. */
  readonly #quick = new Set<string>();
  /** Runs that start in a turn of their own; no more than the engine has slots here. */
  readonly #later: RunRequest[] = [];
  #outcomes: Outcome[] = [];
  #oldestOutcomeMs = 0;
  /** `null` = none, or said already. */
  #maxRssBytes: number | null;
  #started: Promise<void> = Promise.resolve();
  #stopping = false;
  #canvas: CanvasFacts | null = null;

  constructor(app: App, end: ExecutorEnd, logger: Logger, options: ExecutorOptions = {}) {
    this.#app = app;
    this.#end = end;
    this.#maxRssBytes = options.maxRssBytes ?? null;
    this.#gateway = new PortGateway(end);
    const builtins = builtinTasks(app.registry, this.#gateway);
    this.#execute = {
      find: (name) => app.registry.get(name) ?? builtins.get(name),
      middleware: app.middleware.execute,
      publishHooks: app.middleware.publish,
      logger,
      json: app.config.json,
      canvas: () => (this.#canvas ??= canvasFactsOf(app.config, app.registry)),
      postState: (run, state, resultJson) => end.post({ type: 'state', run, state, resultJson }),
      postEvent: (run, event, fieldsJson) => end.post({ type: 'event', run, event, fieldsJson }),
      addPart: (part) => addPart(part, { gateway: this.#gateway, facts: this.#execute.canvas, config: app.config }),
      stepsOf: (run) => this.#gateway.stepsOf(run),
      finish: (outcome) => this.#finish(outcome),
      entered: options.entered ?? null,
    };
  }

  /** Runs the onStart hooks and says `ready`, or `broken`. */
  start(): Promise<void> {
    this.#app.attachGateway(this.#gateway);
    this.#end.onMessage((message) => this.#onMessage(message));
    this.#started = this.#begin();
    return this.#started;
  }

  async #begin(): Promise<void> {
    try {
      await this.#app.runStartHooks();
      this.#end.post({ type: 'ready', hello: helloOf(this.#app) });
    } catch (thrown) {
      const error = toError(thrown);
      this.#app.attachGateway(null);
      this.#end.post({
        type: 'broken',
        error: { code: codeOf(error) ?? 'E_EXECUTOR_START', message: error.message, stack: error.stack ?? '' },
      });
    }
  }

  #onMessage(message: ToExecutor): void {
    // What is said of a run finds it started.
    while (message.type !== 'run' && this.#later.length > 0) this.#startNext();
    switch (message.type) {
      case 'run':
        this.#run(message.tasks);
        return;
      case 'abort':
        for (const run of message.runs) this.#running.get(run)?.context.abort(message.reason);
        return;
      case 'terminate':
        for (const run of message.runs) this.#terminate(run, message.graceMs);
        return;
      case 'command':
        void runCommand(message, this.#app.controlCommands, this.#end);
        return;
      case 'ping':
        this.#end.post({ type: 'pong' });
        return;
      case 'stop':
        void this.#stop();
        return;
      default:
        this.#gateway.hear(message);
    }
  }

  #run(tasks: readonly RunRequest[]): void {
    for (const request of tasks) {
      if (this.#quick.has(request.name)) this.#start(request);
      else {
        this.#later.push(request);
        setImmediate(() => this.#startNext());
      }
    }
  }

  /**
   * A handler that keeps the loop must not keep the outcomes of its neighbours too: were the process killed meanwhile, they would all
   * run again. So a task that may do that starts in a turn of its own, in which those before it have ended if they could, and after their
   * outcomes were told. Doing so for each would cost a tenth of the throughput of short tasks.
   */
  #startNext(): void {
    const request = this.#later.shift();
    if (!request) return;
    this.#flush();
    this.#start(request);
  }

  #start(request: RunRequest): void {
    const { run, name } = request;
    const startedMs = performance.now();
    if (this.#outcomes.length > 0 && startedMs - this.#oldestOutcomeMs > BATCH_MS) this.#flush();
    const started = startRun(request, this.#execute);
    if (started) this.#running.set(run, started);
    if (performance.now() - startedMs > BATCH_MS) this.#quick.delete(name);
    else if (this.#app.registry.get(name)) this.#quick.add(name);
  }

  #terminate(run: number, graceMs: number): void {
    const started = this.#running.get(run);
    if (!started) return;
    started.context.revoke();
    // Too late, it changes nothing: an outcome is handed in once.
    systemClock.after(graceMs, () => started.settle({ kind: 'revoked', begun: true, abandoned: true }));
  }

  #finish(outcome: Outcome): void {
    this.#running.delete(outcome.run);
    if (this.#outcomes.push(outcome) > 1) return;
    this.#oldestOutcomeMs = performance.now();
    setImmediate(() => this.#flush());
  }

  #flush(): void {
    if (this.#outcomes.length === 0) return;
    const outcomes = this.#outcomes;
    this.#outcomes = [];
    // Before the outcomes: they make room, and the next tasks would come here.
    if (this.#maxRssBytes !== null) this.#weigh(this.#maxRssBytes);
    this.#end.post({ type: 'outcomes', outcomes });
  }

  /** With each batch of outcomes: what counts is what is left after tasks. */
  #weigh(maxRssBytes: number): void {
    const rssBytes = process.memoryUsage.rss();
    if (rssBytes <= maxRssBytes) return;
    this.#maxRssBytes = null;
    this.#end.post({ type: 'over-memory', rssBytes });
  }

  async #stop(): Promise<void> {
    // Asked twice when a worker stops while this one retires.
    if (this.#stopping) return;
    this.#stopping = true;
    await this.#started;
    this.#flush();
    try {
      await this.#app.runStopHooks();
    } catch (error) {
      this.#execute.logger.error({ err: toError(error) }, 'an onStop hook threw');
    }
    this.#app.attachGateway(null);
    this.#gateway.close();
    this.#end.post({ type: 'stopped' });
  }
}
