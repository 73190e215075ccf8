/**
 * A retry is a new message with the same id (wire section 2.9). Made from the message that is held, by the engine: the
 * body is not touched, so nothing is lost or re-encoded on the way.
 */
import { isoFromMs, parseIsoMs } from './iso-time.js';
import type { MessageProperties, WireMessage } from './message.js';
import { isBrokerMark } from './task-headers.js';

export interface RetryOptions {
  /** Wall time, to recompute the message's `expiration`. */
  readonly nowMs: number;
  /** Wall time of the next try; `null` = at once, without eta. */
  readonly etaMs: number | null;
}

/**
 * The next try of a task: `retries` + 1, the new eta, `parent_id` = its own id if it had none (as Python writes it),
 * `expiration` recomputed, and the marks of its delivery (`redelivered`, `x-death`, …) taken off.
 */
export function retrySuccessor(message: WireMessage, options: RetryOptions): WireMessage {
  const headers: Record<string, unknown> = {};
  for (const name in message.headers) {
    if (name !== 'redelivered' && name !== '__proto__' && !isBrokerMark(name)) headers[name] = message.headers[name];
  }
  headers.retries = (Number(headers.retries) || 0) + 1;
  headers.eta = options.etaMs === null ? null : isoFromMs(options.etaMs);
  headers.parent_id ??= headers.id;
  const { expiration: _old, ...kept } = message.properties;
  const expiresMs = typeof headers.expires === 'string' ? parseIsoMs(headers.expires) : null;
  const properties: MessageProperties =
    expiresMs === null ? kept : { ...kept, expiration: String(Math.max(0, Math.floor(expiresMs - options.nowMs))) };
  return { contentType: message.contentType, contentEncoding: message.contentEncoding, headers, properties, body: message.body };
}
