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

/**
 * Properties and payload of a message. Null headers stay null: Celery's AMQP writer sends them as void. Numbers in headers
 * get the AMQP types that Python reads (see `field`).
 */
export function toAmqpProperties(message: WireMessage): { readonly properties: AmqpProperties; readonly body: Buffer } {
  const given = message.properties;
  const properties: { -readonly [K in keyof AmqpProperties]: AmqpProperties[K] } = {
    headers: table(message.headers, 0),
    contentType: message.contentType,
    contentEncoding: message.contentEncoding,
    deliveryMode: given.delivery_mode ?? 2,
  };
  if (given.correlation_id !== undefined) properties.correlationId = given.correlation_id;
  if (given.reply_to !== undefined) properties.replyTo = given.reply_to;
  // one byte on the wire; the client throws for more
  if (given.priority !== undefined) properties.priority = Math.min(Math.max(given.priority, 0), 255);
  if (given.expiration !== undefined) properties.expiration = given.expiration;
  const bytes = bytesOf(message.body);
  return { properties, body: Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength) };
}

/** Deeper headers are nobody's, and would overflow the writer's stack. */
const MAX_LEVELS = 32;
const INT32 = 2 ** 31;

function table(source: Readonly<Record<string, unknown>>, level: number): Record<string, unknown> {
  const copy: Record<string, unknown> = {};
  for (const name in source) {
    const value = source[name];
    if (name !== '__proto__' && value !== undefined) copy[name] = typeof value === 'string' ? value : field(value, level);
  }
  return copy;
}

/**
 * A header value with its AMQP type where the client's guess would be wrong.
 *
 * Left alone, amqplib writes an integer between 128 and 32,767 as type `s`, which RabbitMQ calls int16 and Python's client
 * reads as a short string: the rest of the frame becomes garbage and the Python worker loses its connection. A time limit of
 * 300 seconds is enough. So integers go as `I`, as Celery writes them; what is no 32-bit integer goes as `l` or double.
 */
function field(value: unknown, level: number): unknown {
  switch (typeof value) {
    case 'number':
      if (Number.isInteger(value)) {
        if (value >= -INT32 && value < INT32) return { '!': 'int', value };
        // Python reads `l` unsigned, so large negative numbers go as double
        if (value > 0 && Number.isSafeInteger(value)) return { '!': 'long', value };
      }
      return { '!': 'double', value };
    case 'bigint':
      return value >= 0n && value < 2n ** 63n ? { '!': 'long', value } : value.toString();
    case 'object':
      if (value === null || Buffer.isBuffer(value)) return value;
      if (level >= MAX_LEVELS) return '...';
      if (Array.isArray(value)) return value.map((item) => (item === undefined ? null : field(item, level + 1)));
      // a typed value that came in this way (a timestamp, for example) goes out as it came; a made-up one would make the client throw
      if (Object.hasOwn(value, '!'))
        return isTyped(value as { readonly '!': unknown; readonly value?: unknown }) ? value : JSON.stringify(value);
      return table(value as Record<string, unknown>, level + 1);
    default:
      return value;
  }
}

function isTyped(typed: { readonly '!': unknown; readonly value?: unknown }): boolean {
  if (typed['!'] === 'timestamp') return typeof typed.value === 'number' && Number.isSafeInteger(typed.value) && typed.value >= 0;
  if (typed['!'] !== 'decimal' || typeof typed.value !== 'object' || typed.value === null) return false;
  const { places, digits } = typed.value as Record<string, unknown>;
  return isUpTo(places, 255) && isUpTo(digits, 2 ** 32 - 1);
}

function isUpTo(value: unknown, most: number): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= most;
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
