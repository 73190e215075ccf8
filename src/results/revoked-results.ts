/** Results of tasks that were revoked, before any worker has met them: what is stored, and for which of them. Next stop: `result-store.ts`. */
import { pythonError } from '../wire/exception-info.js';
import type { WireMessage } from '../wire/message.js';
import { EPOCH_HEADER } from '../wire/own-headers.js';
import { decodeResultMeta, encodeResultMeta } from '../wire/result-meta.js';
import type { ResultWrite } from './result-store.js';

/** Where they are stored, and for how long. */
export interface RevokedResults {
  readonly store: {
    getResults(ids: readonly string[]): Promise<readonly (string | null)[]>;
    storeResults(writes: readonly ResultWrite[]): Promise<void>;
  };
  /** `null`: for ever. */
  readonly resultTtlMs: number | null;
  readonly nowMs: () => number;
}

/** The exception, as JSON. */
export const REVOKED = pythonError('TaskRevokedError', ['revoked'], 'celery.exceptions');
/** States over which a revoke may write: the others are final, or the task runs and will say itself how it ended. */
const NOT_BEGUN: ReadonlySet<string> = new Set(['PENDING', 'RECEIVED', 'RETRY']);

/**
 * Stores REVOKED for those of these tasks that have not begun, as far as results show it: whoever waits for one learns of it at once.
 * @param ids at most `REVOKE_STEP`
 * @param withdrawn messages of those that were removed
 */
export async function storeRevoked(
  ids: readonly string[],
  to: RevokedResults,
  withdrawn: ReadonlyMap<string, WireMessage> = new Map(),
): Promise<void> {
  const metas = await to.store.getResults(ids);
  const writes = ids.flatMap((id, index): ResultWrite[] => {
    const message = withdrawn.get(id);
    const meta = metas[index];
    if (message?.headers['ignore_result'] === true) return [];
    return meta != null && !NOT_BEGUN.has(decodeResultMeta(meta).status)
      ? []
      : [revokedResult(id, message, to.resultTtlMs, to.nowMs())];
  });
  if (writes.length > 0) await to.store.storeResults(writes);
}

/** As Celery 5.6.1 and later store it: at once, and not when the message comes. */
export function revokedResult(
  id: string,
  message: WireMessage | undefined,
  ttlMs: number | null,
  nowMs: number,
  correlationId?: string,
): ResultWrite {
  const { headers = {}, properties = {} } = message ?? {};
  const textOf = (value: unknown): string | null => (typeof value === 'string' && value !== '' ? value : null);
  const epoch = headers[EPOCH_HEADER];
  const meta = encodeResultMeta({
    status: 'REVOKED',
    resultJson: REVOKED,
    traceback: null,
    children: null,
    dateDone: nowMs,
    taskId: id,
    groupId: textOf(headers['group']),
    parentId: textOf(headers['parent_id']),
  });
  return {
    ...{ id, state: 'REVOKED', meta, ttlMs },
    // A retry goes on under the epoch of the try before; a lower one would be refused.
    epoch: typeof epoch === 'number' && Number.isSafeInteger(epoch) && epoch > 0 ? epoch : 0,
    replyTo: textOf(properties.reply_to),
    correlationId: correlationId ?? textOf(properties.correlation_id),
  };
}
