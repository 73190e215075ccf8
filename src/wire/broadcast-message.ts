/**
 * What control and event messages have in common: JSON to an exchange, read by whoever listens. Not durable, so nothing
 * here promises delivery.
 */
import type { WireMessage } from './message.js';
import { encodeJson, type JsonMode } from './serializers/json.js';

/** A message with the exchange and routing key it is published to. */
export interface AddressedMessage {
  readonly exchange: string;
  readonly routingKey: string;
  readonly message: WireMessage;
}

/** A JSON message to an exchange. */
export function addressed(
  to: { readonly exchange: string; readonly routingKey: string },
  headers: Readonly<Record<string, unknown>>,
  body: unknown,
  options: { readonly deliveryMode: 1 | 2; readonly path: string; readonly json?: JsonMode },
): AddressedMessage {
  return {
    exchange: to.exchange,
    routingKey: to.routingKey,
    message: {
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      headers,
      properties: { delivery_mode: options.deliveryMode, priority: 0 },
      body: { encoding: 'utf8', data: encodeJson(body, { path: options.path, mode: options.json ?? 'tagged' }) },
    },
  };
}
