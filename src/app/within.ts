/** A deadline around opening a connection. Only the first sends of an app come here; drivers keep the deadline of the rest. */
import { formatMs } from '../core/duration.js';
import { PublishError } from '../core/errors.js';
import { inTime } from '../core/in-time.js';

/**
 * Waits for `work` no longer than `timeoutMs` or the signal.
 * @throws PublishError `E_PUBLISH_TIMEOUT`, `E_PUBLISH_FAILED`, both with the outcome `not-sent`
 */
export function within<T>(work: Promise<T>, timeoutMs: number, signal: AbortSignal | undefined): Promise<T> {
  return inTime(work, {
    timeoutMs,
    signal,
    onAbort: (cause) =>
      new PublishError('E_PUBLISH_FAILED', 'the send was aborted before the broker could be reached', {
        ...{ outcome: 'not-sent', cause },
      }),
    onLate: () =>
      new PublishError('E_PUBLISH_TIMEOUT', `the broker could not be reached within ${formatMs(timeoutMs)}`, {
        outcome: 'not-sent',
      }),
  });
}
