/**
 * Celery's event messages (wire section 9): task and worker events that monitors such as Flower read. Task events of a
 * worker travel in arrays, everything else alone; readers take both.
 */
import { WireError } from '../core/errors.js';
import { type AddressedMessage, addressed } from './broadcast-message.js';
import type { WireMessage } from './message.js';
import type { JsonMode } from './serializers/json.js';
import { type DecodeBodyOptions, decodeBody } from './serializers/registry.js';

/** The exchange of events: topic, durable. */
export const EVENT_EXCHANGE = 'celeryev';
/** The routing key of arrays of task events. */
export const EVENT_BATCH_KEY = 'task.multi';
/** Celery sends at most this many events in one array. */
export const EVENT_BATCH_SIZE = 24;

/** One event; its other fields depend on the type. */
export interface WireEvent {
  /** For example `task-received` or `worker-heartbeat`. */
  readonly type: string;
  /** Node name of the sender. */
  readonly hostname: string;
  /** Unix seconds with fraction; 0 when the sender gave none. */
  readonly timestamp: number;
  /** The sender's logical clock. */
  readonly clock: number;
  /** Hours west of UTC. */
  readonly utcoffset: number;
  readonly pid?: number;
  readonly [field: string]: unknown;
}

/** The routing key of an event: its type with `-` replaced by `.`. */
export function eventRoutingKey(type: string): string {
  return type.replaceAll('-', '.');
}

/** The message of one event. @throws ArgumentError `E_NOT_SERIALISABLE` */
export function encodeEvent(event: WireEvent, options?: { readonly json?: JsonMode }): AddressedMessage {
  return encode(eventRoutingKey(event.type), event.hostname, event, options?.json);
}

/** The message of several task events of one worker, in order. @throws ArgumentError `E_NOT_SERIALISABLE` */
export function encodeEventBatch(
  events: readonly WireEvent[],
  options: { readonly hostname: string; readonly json?: JsonMode },
): AddressedMessage {
  return encode(EVENT_BATCH_KEY, options.hostname, events, options.json);
}

function encode(routingKey: string, hostname: string, body: unknown, json: JsonMode = 'tagged'): AddressedMessage {
  return addressed({ exchange: EVENT_EXCHANGE, routingKey }, { hostname }, body, { deliveryMode: 1, path: 'event', json });
}

/** The events of a message, and how many of its elements were no events (no type or no host name). */
export interface DecodedEvents {
  readonly events: readonly WireEvent[];
  readonly refused: number;
}

/**
 * Reads an event message: a single event, an array, or an empty array. One broken event does not cost the others.
 * @throws WireError `E_DECODE` when the body is neither, and all that `decodeBody` throws
 */
export function decodeEvents(message: WireMessage, options?: DecodeBodyOptions): DecodedEvents {
  const body = decodeBody(message, options);
  if (typeof body !== 'object' || body === null)
    throw new WireError('E_DECODE', 'the body is neither an event nor an array of events');
  const items: readonly unknown[] = Array.isArray(body) ? (body as unknown[]) : [body];
  const events: WireEvent[] = [];
  for (const item of items) {
    const event = readEvent(item);
    if (event) events.push(event);
  }
  return { events, refused: items.length - events.length };
}

function readEvent(item: unknown): WireEvent | null {
  if (typeof item !== 'object' || item === null || Array.isArray(item)) return null;
  const event = item as Record<string, unknown>;
  if (typeof event.type !== 'string' || event.type === '' || typeof event.hostname !== 'string') return null;
  return {
    ...event,
    type: event.type,
    hostname: event.hostname,
    timestamp: typeof event.timestamp === 'number' ? event.timestamp : 0,
    clock: typeof event.clock === 'number' && Number.isSafeInteger(event.clock) ? event.clock : 0,
    utcoffset: typeof event.utcoffset === 'number' ? event.utcoffset : 0,
  };
}
