/**
 * What the publisher's outbox is made of: calls of publish(), commands under construction, and how failures are told.
 * The outbox itself is in `publish.ts`.
 */
import { type RedisArg, type RedisPayload, redisErrorCode } from '../../clients/redis.js';
import { RespWriter } from '../../clients/resp.js';
import type { ErrorCode } from '../../core/error-codes.js';
import { codeOf, PublishError, type SendOutcome, toError } from '../../core/errors.js';
import type { OutgoingMessage, PublishResult } from '../broker.js';

/** Room for the start of a command; a longer one grows. */
const HEAD_BYTES = 256;

/** One publish() call. */
export interface Batch {
  readonly messages: readonly OutgoingMessage[];
  readonly results: PublishResult[];
  readonly deadlineMs: number;
  left: number;
  /** Over: aborted or past its deadline. What is still in the outbox is skipped. */
  isOver: boolean;
  /** For each message: 0 waits, 1 written, 2 settled. */
  readonly states: number[];
  finish(): void;
}

/** A call that begins now; `finished` resolves when each of its messages is settled. */
export function newBatch(
  messages: readonly OutgoingMessage[],
  timeoutMs: number,
): { readonly batch: Batch; readonly finished: Promise<void> } {
  let finish = (): void => {};
  const finished = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const batch = {
    messages,
    results: new Array<PublishResult>(messages.length).fill(null),
    deadlineMs: performance.now() + timeoutMs,
    left: messages.length,
    isOver: false,
    states: new Array<number>(messages.length).fill(0),
    finish,
  };
  return { batch, finished };
}

/**
 * Messages for one list, as the arguments of one command: written as bytes at once, and their owners beside them as
 * parallel arrays, because an object a message would cost more than the message.
 */
export interface Chunk {
  /** Under which it is open for more. */
  readonly place: string;
  /** The command up to its first message, and how many arguments each message has. */
  readonly command: readonly RedisArg[];
  readonly argumentsEach: number;
  readonly writer: RespWriter;
  /** Where each message starts in the writer. */
  readonly starts: number[];
  readonly batches: Batch[];
  readonly positions: number[];
  /** The number of the command that carried it, and when the answer to that was lost. */
  number: number;
  lostAtMs: number;
}

/** @param bytes the room that its messages will probably take */
export function emptyChunk(place: string, command: readonly RedisArg[], argumentsEach: number, bytes: number): Chunk {
  const writer = new RespWriter(bytes);
  return { place, command, argumentsEach, writer, starts: [], batches: [], positions: [], number: 0, lostAtMs: 0 };
}

/** The command with what somebody still waits for, marked as written; `null` if nobody does. */
export function commandOf({ command, argumentsEach, writer, starts, batches, positions }: Chunk): RedisPayload | null {
  const parts: Buffer[] = [];
  let count = 0;
  let from = -1;
  for (let at = 0; at < starts.length; at += 1) {
    const batch = batches[at] as Batch;
    if (batch.isOver) {
      if (from >= 0) parts.push(writer.since(from, starts[at]));
      from = -1;
      continue;
    }
    batch.states[positions[at] as number] = 1;
    count += 1;
    if (from < 0) from = starts[at] as number;
  }
  if (from >= 0) parts.push(writer.since(from));
  if (count === 0) return null;
  const head = new RespWriter(HEAD_BYTES);
  head.start(command.length + count * argumentsEach);
  for (const argument of command) head.argument(argument);
  parts.unshift(head.since(0));
  return { name: String(command[0]), parts };
}

/** Why a command failed, and what is known of its messages. */
export interface Failure {
  readonly code: ErrorCode;
  readonly outcome: SendOutcome;
  readonly error: Error;
}

/** Nobody can tell whether the messages are there. */
export function unknownBecause(error: unknown): Failure {
  return { code: 'E_CONNECTION_LOST', outcome: 'unknown', error: toError(error) };
}

/** Redis answered, so nothing was written. */
export function refusalOf(thrown: unknown): Failure {
  const error = toError(thrown);
  const code = redisErrorCode(error);
  if (code === undefined) return { code: codeOf(error) ?? 'E_PUBLISH_FAILED', outcome: 'unknown', error };
  if (code === 'OOM') return { code: 'E_BROKER_FULL', outcome: 'not-sent', error };
  if (code === 'NOAUTH' || code === 'NOPERM') return { code: 'E_BROKER_AUTH', outcome: 'not-sent', error };
  return { code: 'E_PUBLISH_FAILED', outcome: 'not-sent', error };
}

/** The error of one message. */
export function publishError(
  code: ErrorCode,
  outcome: SendOutcome,
  message: string,
  outgoing: OutgoingMessage | undefined,
  cause?: unknown,
): PublishError {
  const id = outgoing?.message.headers.id;
  return new PublishError(code, message, { outcome, taskId: typeof id === 'string' ? id : undefined, cause });
}

/** The error of a message that is certainly not there. */
export function notSent(code: ErrorCode, message: string, outgoing: OutgoingMessage, cause?: unknown): PublishError {
  return publishError(code, 'not-sent', message, outgoing, cause);
}
