/**
 * Publishing into the file: encode outside the transaction, hand over in chunks, and say for each message what is known
 * of it. The deadline is the database's too: a call that has not begun by then never will, which makes most time-outs
 * a certain "not sent".
 */
import type { FileSession } from '../../clients/sqlite/session.js';
import type { ErrorCode } from '../../core/error-codes.js';
import { codeOf, PublishError, toError, type SendOutcome } from '../../core/errors.js';
import type { OutgoingMessage, PublishOptions, PublishResult } from '../broker.js';
import type { NewRow } from './call-types.js';
import { toDueMs } from './holdings.js';
import { rankOf } from './rank.js';
import { encodeBody, encodeHead } from './row-message.js';

/** A call to the database carries so many messages, or so much of their bodies. */
const CHUNK_MESSAGES = 1_000;
const CHUNK_LENGTH = 4 * 1_048_576;
/** The database gives up this much before the caller does, so that its word still arrives. */
const MARGIN_MS = 25;

interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly outcome: SendOutcome;
  readonly cause: unknown;
}

/** One result a message, in order. Never rejects. */
export async function publishRows(session: FileSession, messages: readonly OutgoingMessage[], options: PublishOptions): Promise<readonly PublishResult[]> {
  const { signal, timeoutMs } = options;
  const failures: (Failure | null)[] = [];
  if (signal?.aborted) {
    failures.push({ code: 'E_PUBLISH_FAILED', message: 'the send was aborted before anything was sent', outcome: 'not-sent', cause: signal.reason });
    return report(messages, [messages.length], failures);
  }
  const deadlineMs = Date.now() + Math.max(timeoutMs - MARGIN_MS, timeoutMs / 2);
  const sizes: number[] = [];
  const calls: Promise<Failure | null>[] = [];
  for (let start = 0; start < messages.length; ) {
    const rows = encodeChunk(messages, start);
    start += rows.length;
    sizes.push(rows.length);
    calls.push(session.call('publish', rows, { mode: 'durable', weight: rows.length, deadlineMs }).then(() => null, toFailure));
  }
  return report(messages, sizes, await withinDeadline(calls, options));
}

function encodeChunk(messages: readonly OutgoingMessage[], start: number): NewRow[] {
  const rows: NewRow[] = [];
  let length = 0;
  for (let index = start; index < messages.length && rows.length < CHUNK_MESSAGES && length < CHUNK_LENGTH; index += 1) {
    const { to, message, priority, notBeforeMs } = messages[index] as OutgoingMessage;
    rows.push([to.queue, rankOf(priority ?? message.properties.priority), toDueMs(notBeforeMs), encodeHead(message, priority), encodeBody(message.body)]);
    length += message.body.data.length;
  }
  return rows;
}

function toFailure(error: unknown): Failure {
  const code = codeOf(error) ?? 'E_PUBLISH_FAILED';
  // A thread that died may have committed before it could say so; everything else was rolled back or never begun.
  return { code, message: toError(error).message, outcome: code === 'E_CONNECTION_LOST' ? 'unknown' : 'not-sent', cause: error };
}

/** The failures of the calls; those that are still out at the deadline or the abort are unknown. */
function withinDeadline(calls: readonly Promise<Failure | null>[], { timeoutMs, signal }: PublishOptions): Promise<readonly (Failure | null)[]> {
  return new Promise((resolve) => {
    const results: (Failure | null | undefined)[] = Array.from({ length: calls.length }, () => undefined);
    let open = calls.length;
    const finish = (otherwise: Failure | null): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      resolve(results.map((result) => (result === undefined ? otherwise : result)));
    };
    const onAbort = (): void =>
      finish({ code: 'E_PUBLISH_FAILED', message: 'the send was aborted while it was on its way', outcome: 'unknown', cause: signal?.reason });
    const timer = setTimeout(() => {
      finish({ code: 'E_PUBLISH_TIMEOUT', message: `the embedded file did not confirm within ${timeoutMs} ms`, outcome: 'unknown', cause: undefined });
    }, timeoutMs);
    signal?.addEventListener('abort', onAbort, { once: true });
    calls.forEach((call, index) => {
      void call.then((failure) => {
        results[index] = failure;
        open -= 1;
        if (open === 0) finish(null);
      });
    });
    if (open === 0) finish(null);
  });
}

function report(messages: readonly OutgoingMessage[], sizes: readonly number[], failures: readonly (Failure | null)[]): PublishResult[] {
  const results: PublishResult[] = [];
  sizes.forEach((size, index) => {
    const failure = failures[index];
    for (let count = 0; count < size; count += 1) {
      if (!failure) results.push(null);
      else {
        const id = messages[results.length]?.message.headers['id'];
        const { code, message, outcome, cause } = failure;
        results.push(new PublishError(code, message, { outcome, cause, taskId: typeof id === 'string' ? id : undefined }));
      }
    }
  });
  return results;
}
