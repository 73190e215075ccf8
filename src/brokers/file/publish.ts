/**
 * Publishing into the file: encode outside the transaction, hand over in chunks, and say for each message what is known
 * of it. The deadline is the database's too: a call that has not begun by then never will, which makes most time-outs
 * a certain "not sent".
 */
import type { FileSession } from '../../clients/sqlite/session.js';
import type { ErrorCode } from '../../core/error-codes.js';
import { toError as asError, codeOf, PublishError, type SendOutcome } from '../../core/errors.js';
import type { OutgoingMessage, PublishOptions, PublishResult } from '../broker.js';
import { duplicateOf, idOf } from '../duplicate.js';
import type { NewRow } from './call-types.js';
import { toDueMs } from './holdings.js';
import { rankOf } from './rank.js';
import { encodeBody, encodeHead } from './row-message.js';

/** A call to the database carries so many messages, or so much of their bodies. */
const CHUNK_MESSAGES = 1_000;
const CHUNK_LENGTH = 4 * 1_048_576;
/** So many chunks are encoded ahead of the database: more would only fill the memory. */
const CHUNKS_AHEAD = 10;
/** The database gives up this much before the caller does, so that its word still arrives. */
const MARGIN_MS = 25;

interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly outcome: SendOutcome;
  readonly cause: unknown;
}

/** A part of the batch that is one call to the database. */
interface Chunk {
  readonly messages: readonly OutgoingMessage[];
  state: 'waiting' | 'asked' | 'stored' | Failure;
  /** Whose dedupe keys kept messages of it out, by place; `null`: all are stored. */
  holders: readonly (string | null)[] | null;
}

/** One result a message, in order. Never rejects. */
export async function publishRows(
  session: FileSession,
  messages: readonly OutgoingMessage[],
  options: PublishOptions,
): Promise<readonly PublishResult[]> {
  const chunks = split(messages);
  const given = await storeAll(session, chunks, options);
  const results: PublishResult[] = [];
  for (const { state, messages: part, holders } of chunks) {
    const failure =
      state === 'stored' ? null : typeof state === 'object' ? state : { ...(given as Failure), outcome: outcomeOf(state) };
    for (let at = 0; at < part.length; at += 1) {
      const outgoing = part[at] as OutgoingMessage;
      const holder = holders?.[at] ?? null;
      // one that has the key itself is there already
      if (failure) results.push(toError(outgoing.message.headers['id'], failure));
      else results.push(holder === null || holder === idOf(outgoing) ? null : duplicateOf(outgoing, holder));
    }
  }
  return results;
}

/** Most sends are one message. */
function split(messages: readonly OutgoingMessage[]): Chunk[] {
  const chunks: Chunk[] = [];
  for (let start = 0, end = 0; start < messages.length; start = end) {
    for (let length = 0; end < messages.length && end - start < CHUNK_MESSAGES && length < CHUNK_LENGTH; end += 1) {
      length += (messages[end] as OutgoingMessage).message.body.data.length;
    }
    const part = start === 0 && end === messages.length ? messages : messages.slice(start, end);
    chunks.push({ messages: part, state: 'waiting', holders: null });
  }
  return chunks;
}

/** Resolves when every chunk is through, with `null`; or with why the rest was given up: the deadline or the caller's signal. */
function storeAll(
  session: FileSession,
  chunks: readonly Chunk[],
  { timeoutMs, signal }: PublishOptions,
): Promise<Failure | null> {
  const aborted = (): Failure => ({
    code: 'E_PUBLISH_FAILED',
    message: 'the send was aborted',
    outcome: 'not-sent',
    cause: signal?.reason,
  });
  if (signal?.aborted) return Promise.resolve(aborted());
  if (chunks.length === 0) return Promise.resolve(null);
  const deadlineMs = Date.now() + Math.max(timeoutMs - MARGIN_MS, timeoutMs / 2);
  return new Promise((resolve) => {
    let next = 0;
    let out = 0;
    let over = false;
    const finish = (given: Failure | null): void => {
      over = true;
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      resolve(given);
    };
    const onAbort = (): void => finish(aborted());
    const timer = setTimeout(() => {
      const message = `the embedded file did not confirm within ${timeoutMs} ms`;
      finish({ code: 'E_PUBLISH_TIMEOUT', message, outcome: 'unknown', cause: undefined });
    }, timeoutMs);
    signal?.addEventListener('abort', onAbort, { once: true });
    const onSettled = (chunk: Chunk, state: Chunk['state']): void => {
      if (over) return;
      chunk.state = state;
      out -= 1;
      askMore();
    };
    const askMore = (): void => {
      for (; out < CHUNKS_AHEAD && next < chunks.length; next += 1, out += 1) {
        const chunk = chunks[next] as Chunk;
        chunk.state = 'asked';
        const rows = chunk.messages.map(encodeRow);
        session.call<Chunk['holders']>('publish', rows, { mode: 'durable', weight: rows.length, deadlineMs }).then(
          (holders) => {
            chunk.holders = holders;
            onSettled(chunk, 'stored');
          },
          (error: unknown) => onSettled(chunk, toFailure(error)),
        );
      }
      if (out === 0) finish(null);
    };
    askMore();
  });
}

function encodeRow(outgoing: OutgoingMessage): NewRow {
  const { to, message, priority, notBeforeMs, dedupe } = outgoing;
  const rank = rankOf(priority ?? message.properties.priority);
  const row = [to.queue, rank, toDueMs(notBeforeMs), encodeHead(message, priority), encodeBody(message.body)] as const;
  return dedupe === undefined ? row : [...row, { ...dedupe, id: idOf(outgoing) }];
}

/** Of a chunk that was given up: what was never asked for was never stored. */
function outcomeOf(state: 'waiting' | 'asked' | 'stored'): SendOutcome {
  return state === 'waiting' ? 'not-sent' : 'unknown';
}

function toFailure(error: unknown): Failure {
  const code = codeOf(error) ?? 'E_PUBLISH_FAILED';
  const { message } = asError(error);
  // A thread that died may have committed before it could say so; everything else was rolled back or never begun.
  return { code, message, outcome: code === 'E_CONNECTION_LOST' ? 'unknown' : 'not-sent', cause: error };
}

function toError(id: unknown, { code, message, outcome, cause }: Failure): PublishError {
  return new PublishError(code, message, { outcome, cause, taskId: typeof id === 'string' ? id : undefined });
}
