/**
 * A message as two columns: `head`, a compact JSON array of all but the body, and `body` as it is. Encoded by the sender
 * outside any transaction, decoded by the consumer; the database never looks inside. Pure.
 */

import type { SqliteValue } from '../../clients/sqlite/driver.js';
import { toError, WireError } from '../../core/errors.js';
import type { EncodedBody, MessageProperties, WireMessage } from '../../wire/message.js';
import { MAX_DEPTH } from '../../wire/serializers/json-encode.js';

/** What the body column holds. */
const TEXT = 0;
const BASE64 = 1;
const BYTES = 2;
/** Text that SQLite's text columns cannot give back: with NUL (read only up to it) or lone surrogates. As a JSON string. */
const QUOTED = 3;

type Head = readonly [
  kind: number,
  contentType: string,
  contentEncoding: string,
  headers: Record<string, unknown>,
  properties: MessageProperties,
];

/** The head column. `priority` is written into the properties, so that a retry made of the message keeps it. */
export function encodeHead(message: WireMessage, priority: number | undefined): string {
  const { contentType, contentEncoding, headers, body } = message;
  const properties = priority === undefined ? message.properties : { ...message.properties, priority };
  return JSON.stringify([bodyKind(body), contentType, contentEncoding, headers, properties]);
}

/** The body column. */
export function encodeBody(body: EncodedBody): string | Uint8Array {
  return body.encoding === 'utf8' && needsQuotes(body.data) ? JSON.stringify(body.data) : body.data;
}

function bodyKind(body: EncodedBody): number {
  if (body.encoding === 'binary') return BYTES;
  if (body.encoding === 'base64') return BASE64;
  return needsQuotes(body.data) ? QUOTED : TEXT;
}

function needsQuotes(text: string): boolean {
  return text.includes('\0') || !(text as string & { isWellFormed(): boolean }).isWellFormed();
}

/** Reads both columns. A fault instead of an exception: a bad row must be parked, not thrown about. */
export function decodeRow(head: SqliteValue | undefined, body: SqliteValue | undefined): WireMessage | WireError {
  return decodeWith(head, (kind) => decodeBody(kind, body));
}

/** Reads the head alone; the message has an empty body. */
export function decodeHead(head: SqliteValue | undefined): WireMessage | WireError {
  return decodeWith(head, () => ({ encoding: 'utf8', data: '' }));
}

function decodeWith(head: SqliteValue | undefined, bodyOf: (kind: number) => EncodedBody): WireMessage | WireError {
  try {
    if (typeof head !== 'string') throw new TypeError('it has no head');
    const parsed: unknown = JSON.parse(head);
    if (!isHead(parsed)) throw new TypeError('its head has another form');
    const [kind, contentType, contentEncoding, headers, properties] = parsed;
    if (hasOpeners(head, MAX_DEPTH) && isDeeper(headers, MAX_DEPTH))
      throw new TypeError(`its headers are nested more than ${MAX_DEPTH} levels deep`);
    return { contentType, contentEncoding, headers, properties, body: bodyOf(kind) };
  } catch (error) {
    return new WireError('E_DECODE', `a row of the embedded queue is no message: ${toError(error).message}`, { cause: error });
  }
}

function isHead(value: unknown): value is Head {
  if (!Array.isArray(value) || value.length !== 5) return false;
  const [kind, contentType, contentEncoding, headers, properties] = value as unknown[];
  return (
    typeof kind === 'number' &&
    typeof contentType === 'string' &&
    typeof contentEncoding === 'string' &&
    isObject(headers) &&
    isObject(properties)
  );
}

/**
 * Whether the text has so many brackets at all. What has fewer cannot be nested that deep, and this is all that usual heads
 * cost: walking the keys of every parsed one took an eighth of a drain on Node 24.
 */
function hasOpeners(json: string, atLeast: number): boolean {
  let found = 0;
  for (const opener of ['{', '[']) {
    for (let at = json.indexOf(opener); at >= 0; at = json.indexOf(opener, at + 1)) {
      found += 1;
      if (found >= atLeast) return true;
    }
  }
  return false;
}

/** Deeper ones would overflow the stack on their way to another thread. */
function isDeeper(value: object, levels: number): boolean {
  if (levels === 0) return true;
  for (const key in value) {
    const item = (value as Record<string, unknown>)[key];
    if (typeof item === 'object' && item !== null && isDeeper(item, levels - 1)) return true;
  }
  return false;
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function decodeBody(kind: number, body: SqliteValue | undefined): EncodedBody {
  if (kind === BYTES && body instanceof Uint8Array) return { encoding: 'binary', data: body };
  if (typeof body === 'string') {
    if (kind === TEXT) return { encoding: 'utf8', data: body };
    if (kind === BASE64) return { encoding: 'base64', data: body };
    if (kind === QUOTED) return { encoding: 'utf8', data: JSON.parse(body) as string };
  }
  throw new TypeError(`its body is not of kind ${kind}`);
}

/** The bytes of a row that is no message, for the dead letters and for people. */
export function rawBytes(head: SqliteValue | undefined, body: SqliteValue | undefined): Uint8Array {
  const parts = [head, body].filter((part) => part !== null && part !== undefined && part !== '');
  return Buffer.concat(parts.map((part) => (part instanceof Uint8Array ? part : Buffer.from(String(part)))));
}
