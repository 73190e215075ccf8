/**
 * The error tree. Subclasses exist only where a caller would act differently; everything else is told by `code`.
 * Across threads, processes and copies of the package compare `code`, never `instanceof`.
 */
import type { ErrorCode } from './error-codes.js';

/** Base of every error that Lovage throws. `code` is stable and documented in `docs/reference/errors.md`. */
export class LovageError extends Error {
  readonly code: ErrorCode;
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** Wrong options, URLs or app files. Codes `E_CONFIG_*`, `E_DRIVER_MISSING`, `E_APP_FILE`, `E_TASK_NAME_TAKEN`, `E_SCHEDULE*`. */
export class ConfigError extends LovageError {}

/** Arguments or values that cannot travel. Codes `E_ARGUMENTS`, `E_NOT_SERIALISABLE`, `E_MESSAGE_TOO_LARGE`. */
export class ArgumentError extends LovageError {}

/** Bytes that are no message. Codes `E_DECODE`, `E_CONTENT_REFUSED`, `E_COMPRESSION`. */
export class WireError extends LovageError {}

/** Trouble with a broker or store. */
export class BrokerError extends LovageError {}

/** What is known of a message whose send() failed: it is certainly not in the queue, or it may be. */
export type SendOutcome = 'not-sent' | 'unknown';

/** A send() that failed. Sending again `with({ id })` is safe: a worker drops an id whose result is final. */
export class PublishError extends BrokerError {
  readonly outcome: SendOutcome;
  /** The id of the task that was to be sent. */
  readonly taskId: string | undefined;
  constructor(
    code: ErrorCode,
    message: string,
    options: ErrorOptions & { readonly outcome: SendOutcome; readonly taskId?: string | undefined },
  ) {
    super(code, message, options);
    this.outcome = options.outcome;
    this.taskId = options.taskId;
  }
}

/** A send that was left out, because a task with the same dedupe key was sent before. Code `E_DUPLICATE_SEND`, outcome `not-sent`. */
export class DuplicateSendError extends PublishError {
  /** The id of the task that was sent before. */
  readonly existingId: string;
  constructor(message: string, details: { readonly existingId: string; readonly taskId?: string | undefined }) {
    super('E_DUPLICATE_SEND', message, { outcome: 'not-sent', taskId: details.taskId });
    this.existingId = details.existingId;
  }
}

/** Waiting for, or reading, a result went wrong. Codes `E_RESULT_*`, `E_WAIT_INSIDE_TASK`, `E_TASK_REVOKED`. */
export class ResultError extends LovageError {}

/** The awaited task ended as FAILURE. */
export class TaskFailedError extends ResultError {
  /** Name of the error class in the task, for example `ValueError`. */
  readonly type: string;
  /** The stack or Python traceback of the task, if it was stored. */
  readonly traceback: string | null;
  readonly taskId: string;
  constructor(message: string, details: { readonly type: string; readonly traceback: string | null; readonly taskId: string }) {
    super('E_TASK_FAILED', message);
    this.type = details.type;
    this.traceback = details.traceback;
    this.taskId = details.taskId;
  }
}

/** Something about running a task. Codes `E_NOT_REGISTERED`, `E_MAX_RETRIES`, `E_*TIME_LIMIT`, `E_WORKER_LOST`, … */
export class TaskError extends LovageError {}

/** `error.code` if it is one of ours, from any thread, process or copy of the package. */
export function codeOf(error: unknown): ErrorCode | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const code = (error as { readonly code?: unknown }).code;
  return typeof code === 'string' && code.startsWith('E_') ? (code as ErrorCode) : undefined;
}

/** Any thrown value as an Error; never throws itself. */
export function toError(thrown: unknown): Error {
  try {
    if (thrown instanceof Error) return thrown;
    return new Error(typeof thrown === 'string' ? thrown : `thrown value: ${String(thrown)}`, { cause: thrown });
  } catch {
    return new Error('thrown value that cannot be shown');
  }
}
