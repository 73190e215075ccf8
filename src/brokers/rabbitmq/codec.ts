/**
 * Between the seam's messages and what the AMQP client takes and gives. Hot: called once for every message both ways.
 */
import { isUtf8 } from 'node:buffer';
import type { Message, Options } from '../../clients/amqp.js';
import { WireError } from '../../core/errors.js';
import { fromAmqpProperties, toAmqpProperties } from '../../wire/amqp-message.js';
import type { WireMessage } from '../../wire/message.js';
import { bytesOf } from '../../wire/serializers/registry.js';
import { isBrokerMark } from '../../wire/task-message.js';
import type { ParkReason } from '../broker.js';

/**
 * How long the broker keeps a message past its `expires`. Celery sends the exact time, and then RabbitMQ drops the message and
 * its task stays PENDING for ever; with the margin a worker sees it, stores REVOKED ("expired") and the sender learns of it.
 */
const EXPIRY_MARGIN_MS = 3_600_000;
/** RabbitMQ closes the channel for more (49 days). The worker judges by the `expires` header, so such a message goes without. */
const LONGEST_TTL_MS = 4_294_967_295;

const PUBLISH_OPTIONS = { mandatory: true } as const;

/** Properties and body for publishing; `priority` replaces that of the message. */
export function encodeForQueue(
  message: WireMessage,
  priority: number | undefined,
  way: 'queue' | 'delay',
): { readonly content: Buffer; readonly options: Options.Publish } {
  const { properties, body } = toAmqpProperties(message);
  const options: Options.Publish = Object.assign(properties as Options.Publish, PUBLISH_OPTIONS);
  if (priority !== undefined) options.priority = priority;
  const { expiration } = properties;
  // In the delay ladder a TTL would end the wait early instead of the message.
  if (expiration !== undefined) {
    const ttlMs = Math.floor(Number(expiration) || 0) + EXPIRY_MARGIN_MS;
    options.expiration = way === 'delay' || ttlMs > LONGEST_TTL_MS ? undefined : String(Math.max(0, ttlMs));
  }
  return { content: body, options };
}

/** A copy of a held message for the back of its queue: unchanged, its TTL included. */
export function encodeCopy(message: WireMessage): { readonly content: Buffer; readonly options: Options.Publish } {
  const { properties, body } = toAmqpProperties(message);
  return { content: body, options: Object.assign(properties as Options.Publish, PUBLISH_OPTIONS) };
}

/** What came in, or why it is no message. */
export type Decoded = { readonly message: WireMessage } | { readonly raw: Buffer; readonly fault: WireError };

/** Reads a delivery. Marks that the broker put into the headers are taken off: they must not reach a task or its retry. */
export function decode(received: Message): Decoded {
  const { properties, content } = received;
  const headers = properties.headers as Record<string, unknown> | undefined;
  if (typeof properties.contentType !== 'string' || properties.contentType === '') {
    return { raw: content, fault: new WireError('E_DECODE', 'the message has no content type: no Celery client wrote it') };
  }
  // The client assigns header names to a plain object, so a header called __proto__ becomes its prototype.
  if (headers && Object.getPrototypeOf(headers) !== Object.prototype) {
    return { raw: content, fault: new WireError('E_DECODE', 'the message has a header called __proto__') };
  }
  if (headers && ('x-death' in headers || 'x-delivery-count' in headers)) {
    for (const name of Object.keys(headers)) if (isBrokerMark(name)) delete headers[name];
  }
  const message = fromAmqpProperties(properties, content);
  // Text, or bytes of their own: the content is a window on a receive buffer of up to 64 KiB that would be kept, and copied whole to another thread.
  if (isUtf8(content)) return { message: { ...message, body: { encoding: 'utf8', data: content.toString('utf8') } } };
  return { message: { ...message, body: { encoding: 'binary', data: Uint8Array.prototype.slice.call(content) } } };
}

/** Headers that a parked message gets in addition to its own. */
export const DEAD_HEADERS = {
  code: 'lovage_dead_code',
  reason: 'lovage_dead_reason',
  queue: 'lovage_dead_queue',
  at: 'lovage_dead_at',
} as const;

/** The copy of a message for the dead letters: body and properties as they were, the reason in headers. */
export function encodeDead(
  original: { readonly content: Buffer; readonly options: Options.Publish },
  reason: ParkReason,
  queue: string,
  nowMs: number,
): { readonly content: Buffer; readonly options: Options.Publish } {
  const headers = {
    ...(original.options.headers as Record<string, unknown> | undefined),
    [DEAD_HEADERS.code]: reason.code,
    [DEAD_HEADERS.reason]: reason.reason.slice(0, 4_096),
    [DEAD_HEADERS.queue]: queue,
    [DEAD_HEADERS.at]: new Date(nowMs).toISOString(),
  };
  // No TTL: a dead letter waits for a human. Persistent, whatever the message was.
  return {
    content: original.content,
    options: { ...original.options, headers, expiration: undefined, deliveryMode: 2, mandatory: true },
  };
}

/** A delivery that is no message, as it came, for the dead letters. */
export function rawCopy(received: Message): { readonly content: Buffer; readonly options: Options.Publish } {
  const { headers, contentType, contentEncoding, correlationId, replyTo, priority, messageId, type, appId } = received.properties;
  const options = {
    headers: { ...headers },
    contentType,
    contentEncoding,
    correlationId,
    replyTo,
    priority,
    messageId,
    type,
    appId,
  };
  return { content: received.content, options };
}

/** The content type of a parked message whose headers are larger than a copy can carry: all of it as one JSON document. */
export const WRAPPED_CONTENT_TYPE = 'application/vnd.lovage.message+json';

/** A message as a JSON document: its properties, its headers, and its body in base64. For the dead letters, where nothing may be lost. */
export function wrap(original: Message | WireMessage): { readonly content: Buffer; readonly options: Options.Publish } {
  const parts =
    'content' in original
      ? { properties: original.properties, body: original.content.toString('base64') }
      : { ...original, body: Buffer.from(bytesOf(original.body)).toString('base64') };
  const json = JSON.stringify(parts, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value));
  return { content: Buffer.from(json), options: { contentType: WRAPPED_CONTENT_TYPE, contentEncoding: 'utf-8' } };
}
