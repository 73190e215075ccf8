/** The error of `sendMany` when at least one row failed. */
import { BrokerError } from '../core/errors.js';
import type { TaskHandle } from './task-handle.js';

/** How one row of `sendMany` ended. */
export type SendManyResult<R> =
  | { readonly status: 'sent'; readonly handle: TaskHandle<R> }
  | { readonly status: 'failed'; readonly error: Error };

/** Some rows of `sendMany` failed; the others were sent. Code `E_PUBLISH_FAILED`; the first failure is the cause. */
export class SendManyError extends BrokerError {
  /** One entry a row, in order. */
  readonly results: readonly SendManyResult<unknown>[];
  constructor(task: string, results: readonly SendManyResult<unknown>[]) {
    const failures = results.flatMap((result) => (result.status === 'failed' ? [result.error] : []));
    const [first] = failures;
    super(
      'E_PUBLISH_FAILED',
      `${failures.length} of ${results.length} rows of ${task} were not sent: ${first?.message ?? ''}; see results, and send only the failed rows again`,
      {
        cause: first,
      },
    );
    this.results = results;
  }
}
