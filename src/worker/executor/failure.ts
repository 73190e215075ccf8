/** What a value that a task threw means: steering (retry, ignore, reject), a hand-back, another try by policy, or failure. */
import type { ResolvedRetryPolicy, TaskDefinition } from '../../app/definition.js';
import { retryDelayMs } from '../../app/retry-after.js';
import type { RetrySignal } from '../../app/task-context.js';
import { codeOf, TaskError } from '../../core/errors.js';
import { encodeException } from '../../wire/exception-info.js';
import type { WireSignature } from '../../wire/signature.js';
import type { RunContext } from './context.js';
import type { OutcomeBody } from './execute.js';

/** The outcome, and whether it is a failure only because no retry was left. */
export interface Judged {
  readonly outcome: OutcomeBody;
  readonly exhausted: boolean;
}

/** `ctx.retry()` without a policy: Celery's default of three, one second doubling, with full jitter. */
const PLAIN_RETRY = { max: 3, backoff: 'exponential', baseMs: 1_000, capMs: 600_000, jitter: 'full' } as const;

/** Never throws: what escapes here has no task to fail, and ends the executor with all that runs beside this one. */
export function judgeThrown(thrown: unknown, definition: TaskDefinition, context: RunContext): Judged {
  try {
    return judge(thrown, definition, context);
  } catch {
    // A proxy or a getter that throws when it is looked at. An error that says what can be said of it stands in for it.
    return judge(new Error(`what the task threw cannot be read: ${encodeException(thrown).message}`), definition, context);
  }
}

function judge(thrown: unknown, definition: TaskDefinition, context: RunContext): Judged {
  const steer = typeof thrown === 'object' && thrown !== null ? (thrown as { steer?: unknown }).steer : undefined;
  if (steer === 'ignore') return ended({ kind: 'ignored' });
  if (steer === 'replace') {
    context.replacedBy = (thrown as { signature?: { toJSON(): WireSignature } }).signature?.toJSON() ?? null;
    return ended({ kind: 'replaced', follow: [], chords: [] });
  }
  if (steer === 'reject') return ended({ kind: 'rejected', requeue: (thrown as { requeue?: unknown }).requeue === true });
  if (context.aborted === 'shutdown' || context.aborted === 'lease-lost') return ended({ kind: 'handed-back' });
  const policy = definition.options.retry;
  const retries = context.attempt - 1;
  if (steer === 'retry') {
    const { cause, delayMs } = thrown as RetrySignal;
    const { max, ...backoff } = policy ?? PLAIN_RETRY;
    if (retries < max) {
      const because = cause === undefined ? null : encodeException(cause);
      return ended({
        kind: 'retry',
        delayMs: delayMs ?? retryDelayMs(backoff, retries + 1, Math.random(), cause, Date.now()),
        exceptionJson: because?.json ?? null,
        traceback: because?.traceback ?? null,
      });
    }
    const final = cause ?? new TaskError('E_MAX_RETRIES', `gave up after ${retries + 1} tries`);
    return { outcome: failure(final, definition), exhausted: true };
  }
  if (policy === null || !isWorthIt(thrown, policy)) return ended(failure(thrown, definition));
  if (retries >= policy.max) return { outcome: failure(thrown, definition), exhausted: true };
  const { json, traceback } = encodeException(thrown);
  const delayMs = retryDelayMs(policy, retries + 1, Math.random(), thrown, Date.now());
  return ended({ kind: 'retry', delayMs, exceptionJson: json, traceback });
}

/** Arguments that do not fit will not fit next time either. */
function isWorthIt(thrown: unknown, policy: ResolvedRetryPolicy): boolean {
  return codeOf(thrown) !== 'E_ARGUMENTS' && policy.isRetryable(thrown);
}

function ended(outcome: OutcomeBody): Judged {
  return { outcome, exhausted: false };
}

function failure(thrown: unknown, definition: TaskDefinition): OutcomeBody {
  return { ...plainFailure(thrown), expected: definition.options.isExpected(thrown) };
}

/** A failure that no definition has a say in. */
export function plainFailure(thrown: unknown): Extract<OutcomeBody, { kind: 'failure' }> {
  const { json, traceback } = encodeException(thrown);
  return { kind: 'failure', exceptionJson: json, traceback, expected: false };
}
