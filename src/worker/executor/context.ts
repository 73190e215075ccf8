/**
 * The context of one run. Made for every task, so what few tasks use (signal, logger, dates) is made at the first use.
 */
import type { TaskDefinition } from '../../app/definition.js';
import { ReplaceSignal, RetrySignal, type TaskContext } from '../../app/task-context.js';
import { type StepPlace, TaskSteps } from '../../app/task-steps.js';
import type { AnySignature } from '../../app/workflows/signature-types.js';
import type { Embed } from '../../canvas/after.js';
import { type Duration, durationMs } from '../../core/duration.js';
import type { ErrorCode } from '../../core/error-codes.js';
import { TaskError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { encodeJson, type JsonMode } from '../../wire/serializers/json.js';
import type { WireSignature } from '../../wire/signature.js';
import { type TaskHeaders, userHeaders } from '../../wire/task-message.js';
import type { AbortReason, RunRequest } from '../port.js';
import type { AddedPart } from './added.js';
import { checkEventType, encodeEventFields } from './own-events.js';

/** `name`: what Python calls it; the failure of a task that lets it out is stored under that. */
const ABORT_ERRORS: Record<AbortReason, { readonly code: ErrorCode; readonly name?: string; readonly message: string }> = {
  'soft-time-limit': {
    code: 'E_SOFT_TIME_LIMIT',
    name: 'SoftTimeLimitExceeded',
    message: 'the soft time limit of this task has passed',
  },
  'time-limit': { code: 'E_TIME_LIMIT', name: 'TimeLimitExceeded', message: 'the hard time limit of this task has passed' },
  shutdown: { code: 'E_CLOSED', message: 'the worker is shutting down; the task will run again elsewhere' },
  revoked: { code: 'E_TASK_REVOKED', message: 'the task was revoked' },
  'lease-lost': { code: 'E_LEASE_LOST', message: 'this worker no longer holds the task; its outcome will be refused' },
};

/** Posts a state of the task's own to the engine. */
export type PostState = (run: number, state: string, resultJson: string) => void;

/** Posts an event of the task's own to the engine. */
export type PostEvent = (run: number, event: string, fieldsJson: string) => void;

/** What a context needs of its executor. */
export interface ContextOptions {
  readonly logger: Logger;
  readonly json: JsonMode;
  readonly postState: PostState;
  readonly postEvent: PostEvent;
  /** Where finished steps of a run are kept. */
  readonly stepsOf: (run: number) => StepPlace;
  readonly addPart: (part: AddedPart) => Promise<string>;
}

export class RunContext implements TaskContext {
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  /** Why the signal was aborted, if it was. */
  aborted: AbortReason | null = null;
  /** Somebody revoked it while it ran, whatever its signal had aborted for before. */
  isRevoked = false;
  /** What it threw with `replace()`. */
  replacedBy: WireSignature | null = null;
  /** What follows it, or waits for it. */
  behind: Embed | null = null;
  #added = 0;
  readonly #request: RunRequest;
  readonly #taskHeaders: TaskHeaders;
  readonly #definition: TaskDefinition;
  readonly #options: ContextOptions;
  #controller: AbortController | null = null;
  #log: Logger | null = null;
  #steps: TaskSteps | null = null;

  constructor(
    request: RunRequest,
    headers: TaskHeaders,
    definition: TaskDefinition,
    args: readonly unknown[],
    kwargs: Readonly<Record<string, unknown>>,
    options: ContextOptions,
  ) {
    this.#request = request;
    this.#taskHeaders = headers;
    this.#definition = definition;
    this.args = args;
    this.kwargs = kwargs;
    this.#options = options;
  }

  get id(): string {
    return this.#taskHeaders.id;
  }
  get name(): string {
    return this.#taskHeaders.task;
  }
  get queue(): string {
    return this.#request.queue;
  }
  get attempt(): number {
    return this.#taskHeaders.retries + 1;
  }
  get maxAttempts(): number {
    return (this.#definition.options.retry?.max ?? 0) + 1;
  }
  get rootId(): string {
    return this.#taskHeaders.rootId ?? this.#taskHeaders.id;
  }
  get parentId(): string | null {
    return this.#taskHeaders.parentId;
  }
  get groupId(): string | null {
    return this.#taskHeaders.groupId;
  }
  get headers(): Readonly<Record<string, unknown>> {
    return userHeaders(this.#request.message.headers);
  }
  get stamps(): Readonly<Record<string, unknown>> {
    return this.#taskHeaders.stamps;
  }
  get eta(): Date | null {
    return this.#taskHeaders.etaMs === null ? null : new Date(this.#taskHeaders.etaMs);
  }
  get expires(): Date | null {
    return this.#taskHeaders.expiresMs === null ? null : new Date(this.#taskHeaders.expiresMs);
  }
  get redelivered(): boolean {
    return this.#request.redelivered;
  }
  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.aborted) this.#controller.abort(abortError(this.aborted));
    }
    return this.#controller.signal;
  }
  get log(): Logger {
    this.#log ??= this.#options.logger.child({ id: this.id, task: this.name });
    return this.#log;
  }

  progress(current: number, total?: number, note?: string): void {
    this.updateState('PROGRESS', { current, ...(total === undefined ? {} : { total }), ...(note === undefined ? {} : { note }) });
  }

  updateState(state: string, meta: unknown): void {
    this.#options.postState(this.#request.run, state, encodeJson(meta, { path: 'meta', mode: this.#options.json }));
  }

  sendEvent(type: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.#options.postEvent(this.#request.run, checkEventType(type), encodeEventFields(fields, this.#options.json));
  }

  step<T>(name: string, work: () => T | PromiseLike<T>): Promise<T> {
    this.#steps ??= new TaskSteps(this.#options.stepsOf(this.#request.run), this.#options.json);
    return this.#steps.run(name, work, () => {
      // past its soft limit a task may still tidy up
      if (this.aborted !== null && this.aborted !== 'soft-time-limit') throw abortError(this.aborted);
    });
  }

  async addToChord(signature: { toJSON(): WireSignature }): Promise<string> {
    const isRepeated = this.redelivered || this.attempt > 1;
    const part = {
      signature: signature.toJSON(),
      headers: this.#taskHeaders,
      embed: this.behind,
      nth: this.#added++,
      isRepeated,
    };
    return this.#options.addPart(part);
  }

  replace(signature: AnySignature): ReplaceSignal {
    return new ReplaceSignal(signature);
  }

  retry(options: { readonly in?: Duration; readonly because?: unknown } = {}): RetrySignal {
    return new RetrySignal(options.in === undefined ? null : durationMs(options.in, 'retry in'), options.because);
  }

  revoke(): void {
    this.isRevoked = true;
    this.abort('revoked');
  }

  /** Aborts the signal; the first reason counts. */
  abort(reason: AbortReason): void {
    if (this.aborted) return;
    this.aborted = reason;
    this.#controller?.abort(abortError(reason));
  }
}

function abortError(reason: AbortReason): TaskError {
  const { code, name, message } = ABORT_ERRORS[reason];
  const error = new TaskError(code, message);
  return name === undefined ? error : Object.defineProperty(error, 'name', { value: name });
}
