/**
 * The neutral form of a message: what every broker carries, before a driver gives it its own envelope. Types only.
 *
 * Bodies stay encoded here. The engine routes messages by their headers and never decodes a body: user data is
 * decoded by the executor, so a hostile or huge body costs the engine nothing.
 */

/** The encoded body: text as it is, base64 of bytes (as kombu's Redis envelope holds it), or bytes. */
export type EncodedBody =
  | { readonly encoding: 'utf8'; readonly data: string }
  | { readonly encoding: 'base64'; readonly data: string }
  | { readonly encoding: 'binary'; readonly data: Uint8Array };

/** Message properties as Celery writes them (wire section 2.3). Absent = not set. */
export interface MessageProperties {
  readonly correlation_id?: string;
  readonly reply_to?: string;
  /** 2 = persistent, 1 = transient. */
  readonly delivery_mode?: 1 | 2;
  /** In the broker's own sense, as on the wire: Redis lower = sooner, RabbitMQ higher = sooner. */
  readonly priority?: number;
  /** Milliseconds until the message expires, as decimal text. */
  readonly expiration?: string;
}

/** A message with its body still encoded. */
export interface WireMessage {
  readonly contentType: string;
  readonly contentEncoding: string;
  /** Protocol 2 headers, user headers merged flat among them (wire section 2.1); empty for protocol 1. */
  readonly headers: Readonly<Record<string, unknown>>;
  readonly properties: MessageProperties;
  readonly body: EncodedBody;
}

/** Where a message is sent. Default exchange `''` with the queue's name as routing key unless said otherwise. */
export interface Destination {
  readonly queue: string;
  readonly exchange?: string;
  readonly routingKey?: string;
}
