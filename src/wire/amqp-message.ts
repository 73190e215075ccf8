/**
 * A message as AMQP basic properties plus a body (wire section 2.3), in the plain-object form that amqplib takes and
 * gives. No client library is imported here.
 */
import type { MessageProperties, WireMessage } from './message.js';
import { bytesOf } from './serializers/registry.js';

/** Basic properties to publish with. Exactly those that Celery sets, no others. */
export interface AmqpProperties {
  readonly headers: Readonly<Record<string, unknown>>;
  readonly contentType: string;
  readonly contentEncoding: string;
  readonly correlationId?: string;
  readonly replyTo?: string;
  readonly deliveryMode: 1 | 2;
  readonly priority?: number;
  readonly expiration?: string;
}

/** Properties and payload of a message. Null headers stay null: Celery's AMQP writer sends them as void. */
export function toAmqpProperties(message: WireMessage): { readonly properties: AmqpProperties; readonly body: Buffer } {
  const given = message.properties;
  const properties: { -readonly [K in keyof AmqpProperties]: AmqpProperties[K] } = {
    headers: message.headers,
    contentType: message.contentType,
    contentEncoding: message.contentEncoding,
    deliveryMode: given.delivery_mode ?? 2,
  };
  if (given.correlation_id !== undefined) properties.correlationId = given.correlation_id;
  if (given.reply_to !== undefined) properties.replyTo = given.reply_to;
  if (given.priority !== undefined) properties.priority = given.priority;
  if (given.expiration !== undefined) properties.expiration = given.expiration;
  const bytes = bytesOf(message.body);
  return { properties, body: Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength) };
}

/** What amqplib gives for a delivery; every field may be missing or of another type, as the sender pleased. */
export interface ReceivedAmqpProperties {
  readonly headers?: unknown;
  readonly contentType?: unknown;
  readonly contentEncoding?: unknown;
  readonly correlationId?: unknown;
  readonly replyTo?: unknown;
  readonly deliveryMode?: unknown;
  readonly priority?: unknown;
  readonly expiration?: unknown;
}

/** The message of a delivery. Never throws: what is missing or odd is left out, and readers of the headers judge it. */
export function fromAmqpProperties(received: ReceivedAmqpProperties, content: Uint8Array): WireMessage {
  const properties: { -readonly [K in keyof MessageProperties]: MessageProperties[K] } = {};
  if (typeof received.correlationId === 'string') properties.correlation_id = received.correlationId;
  if (typeof received.replyTo === 'string') properties.reply_to = received.replyTo;
  if (received.deliveryMode === 1 || received.deliveryMode === 2) properties.delivery_mode = received.deliveryMode;
  if (typeof received.priority === 'number') properties.priority = received.priority;
  if (typeof received.expiration === 'string') properties.expiration = received.expiration;
  const { headers } = received;
  return {
    contentType: typeof received.contentType === 'string' ? received.contentType : '',
    contentEncoding: typeof received.contentEncoding === 'string' ? received.contentEncoding : '',
    headers: typeof headers === 'object' && headers !== null ? (headers as Record<string, unknown>) : {},
    properties,
    body: { encoding: 'binary', data: content },
  };
}
