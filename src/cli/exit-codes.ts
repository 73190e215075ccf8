/** How the command line ends: one table of exit codes, and which error leads to which. Shown by `lovage --help` and docs/reference/cli.md. */
import type { ErrorCode } from '../core/error-codes.js';
import { codeOf } from '../core/errors.js';
import { STUCK_REMEDY } from '../core/exit-now.js';

/** Every exit code of `lovage`, with its meaning. */
export const EXIT_CODES = {
  0: 'done; or a worker was asked to stop (unfinished work, if any, was handed back)',
  1: 'unexpected error, or the awaited task failed',
  2: 'wrong usage',
  3: 'asked to stop, but the hand-back failed: the lease will recover the work',
  65: 'bad data or app file',
  69: 'broker, result store or worker unreachable, or it did not answer in time',
  70: 'a task blocked the process past its hard limit',
  77: 'refused: wrong credentials',
  78: 'bad configuration',
} as const;

export type ExitCode = keyof typeof EXIT_CODES;

/** What to do about a worker that ended, by its exit code: stands in its last log line, because a supervisor keeps nothing else. */
export const REMEDIES: Readonly<Partial<Record<ExitCode, string>>> = {
  1: 'mend what the message and the stack name, and start it again',
  65: 'mend the app file: started again as it is, it ends in the same way',
  69: 'start the broker, or correct its URL; without --connect-tries a worker goes on trying',
  70: STUCK_REMEDY,
  77: "correct user and password in the broker's URL, or what that user may do: started again as it is, it ends in the same way",
  78: 'correct the option that the message names: started again as it is, it ends in the same way',
};

/** Codes that are not here are unexpected: 1. */
const BY_ERROR: Partial<Record<ErrorCode, ExitCode>> = {
  E_CONFIG_UNKNOWN_KEY: 78,
  E_CONFIG_TYPE: 78,
  E_CONFIG_RANGE: 78,
  E_CONFIG_URL: 78,
  E_CONFIG_CONFLICT: 78,
  E_DRIVER_MISSING: 78,
  E_HEALTH: 78,
  E_FILE_SYSTEM: 78,
  E_NOT_SUPPORTED: 78,
  E_APP_FILE: 65,
  E_TASK_NAME_TAKEN: 65,
  E_ARGUMENTS: 65,
  E_NOT_SERIALISABLE: 65,
  E_MESSAGE_TOO_LARGE: 65,
  E_DECODE: 65,
  E_CONTENT_REFUSED: 65,
  E_COMPRESSION: 65,
  E_BROKER_CORRUPT: 65,
  E_QUEUE_MISSING: 65,
  E_MESSAGE_MISSING: 65,
  E_DEAD_LETTER_MISSING: 65,
  E_SCHEDULE: 78,
  E_SCHEDULE_NEVER: 78,
  E_SCHEDULE_MISSING: 65,
  E_SCHEDULE_TAKEN: 65,
  E_BROKER_UNREACHABLE: 69,
  E_WORKER_UNREACHABLE: 69,
  E_CONNECTION_LOST: 69,
  E_PUBLISH_FAILED: 69,
  E_PUBLISH_TIMEOUT: 69,
  E_BROKER_FULL: 69,
  E_DEAD_LETTERS_BUSY: 69,
  E_EXECUTOR_STUCK: 70,
  E_BROKER_AUTH: 77,
};

/** Wrong usage that only an action can see (commander finds the rest): exit 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** The exit code for a thrown value, by its `code` (never by class: it may come from another thread). */
export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof UsageError) return 2;
  const code = codeOf(error);
  return (code && BY_ERROR[code]) ?? 1;
}
