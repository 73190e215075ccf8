/**
 * kombu's Redis envelope: one JSON object per list element (wire section 4.2), its priorities and its key names. On the
 * hot path of every Redis message: one JSON.parse or JSON.stringify and constant work.
 */
import { WireError } from '../core/errors.js';
import type { EncodedBody, MessageProperties, WireMessage } from './message.js';
import { decodeJson, encodeJson, textOfUtf8 } from './serializers/json.js';

/** Where an envelope goes, and its unique tag. */
export interface EnvelopeRoute {
  readonly exchange: string;
  readonly routingKey: string;
  /** Must be new for every publish: it is the key under which kombu holds unacknowledged messages. */
  readonly deliveryTag: string;
}

/** What was in an envelope. */
export interface DecodedEnvelope {
  readonly message: WireMessage;
  /** `''` when the envelope has none. */
  readonly deliveryTag: string;
  readonly exchange: string;
  readonly routingKey: string;
  /** Somebody put it back after having had it. */
  readonly redelivered: boolean;
}

/**
 * The list element for a message. A message without priority gets 0, as Celery writes it.
 * @throws WireError `E_DECODE` when a header cannot be written
 */
export function encodeEnvelope(message: WireMessage, route: EnvelopeRoute): string {
  const { properties } = message;
  let sender = '';
  if (properties.correlation_id !== undefined) sender += `"correlation_id":${quote(properties.correlation_id)},`;
  if (properties.reply_to !== undefined) sender += `"reply_to":${quote(properties.reply_to)},`;
  let tail = `"delivery_mode":${properties.delivery_mode ?? 2}`;
  if (properties.expiration !== undefined) tail += `,"expiration":${quote(properties.expiration)}`;
  tail += `,"delivery_info":{"exchange":${sharedQuote(EXCHANGE, route.exchange)},"routing_key":${sharedQuote(ROUTING_KEY, route.routingKey)}`;
  // kombu writes the mark in both places when it puts a message back
  if (message.headers.redelivered === true) tail += ',"redelivered":true';
  return (
    `{"body":"${base64Of(message.body)}",${contentJson(message)},` +
    `"headers":${headersJson(message.headers)},"properties":{${sender}${tail}},"priority":${properties.priority ?? 0},` +
    `"body_encoding":"base64","delivery_tag":${quote(route.deliveryTag)}}}`
  );
}

/**
 * Reads a list element. The body stays encoded.
 * @throws WireError `E_DECODE` when it is no envelope; never anything else
 */
export function decodeEnvelope(raw: string | Uint8Array): DecodedEnvelope {
  const text = typeof raw === 'string' ? raw : textOfUtf8(raw);
  const parsed = parseEnvelope(text);
  if (!isObject(parsed)) throw new WireError('E_DECODE', 'the element is no message envelope: not a JSON object');
  const envelope = holdsMoreThanCelerys(parsed.headers)
    ? (decodeJson(text, { typed: false }) as Record<string, unknown>)
    : parsed;

  const { body, headers, properties } = envelope;
  if (typeof body !== 'string') throw new WireError('E_DECODE', 'the envelope has no body');
  if (!isObject(properties)) throw new WireError('E_DECODE', 'the envelope has no properties');
  if (headers !== undefined && headers !== null && !isObject(headers))
    throw new WireError('E_DECODE', 'the headers of the envelope are no object');
  const info = isObject(properties.delivery_info) ? properties.delivery_info : NOTHING;
  const known = headers ?? NOTHING;
  return {
    message: {
      contentType: textOf(envelope['content-type']),
      contentEncoding: textOf(envelope['content-encoding']),
      headers: known,
      properties: readProperties(properties),
      body: { encoding: bodyEncoding(properties.body_encoding), data: body },
    },
    deliveryTag: textOf(properties.delivery_tag),
    exchange: textOf(info.exchange),
    routingKey: textOf(info.routing_key),
    redelivered: known.redelivered === true || info.redelivered === true,
  };
}

const NOTHING: Readonly<Record<string, unknown>> = Object.freeze({});

function parseEnvelope(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Python may have written NaN or Infinity into a user header
    return decodeJson(text, { typed: false });
  }
}

/**
 * Whether headers hold values that JSON.parse may have rounded or that may be too deep. Celery's own headers never do;
 * user headers may, and then the whole envelope is read again with care.
 */
function holdsMoreThanCelerys(headers: unknown): boolean {
  if (!isObject(headers)) return false;
  for (const name in headers) {
    const value = headers[name];
    if (typeof value === 'number') {
      if (!Number.isSafeInteger(value) && Number.isInteger(value)) return true;
    } else if (typeof value === 'object' && value !== null && holdsMore(value)) return true;
  }
  return false;
}

function holdsMore(value: object): boolean {
  for (const key in value) {
    const item = (value as Record<string, unknown>)[key];
    if (typeof item === 'object' && item !== null) return true;
    if (typeof item === 'number' && Number.isInteger(item) && !Number.isSafeInteger(item)) return true;
  }
  return false;
}

function readProperties(properties: Record<string, unknown>): MessageProperties {
  const read: { -readonly [K in keyof MessageProperties]: MessageProperties[K] } = {};
  if (typeof properties.correlation_id === 'string') read.correlation_id = properties.correlation_id;
  if (typeof properties.reply_to === 'string') read.reply_to = properties.reply_to;
  const mode = properties.delivery_mode;
  if (mode === 1 || mode === 2) read.delivery_mode = mode;
  if (Number.isSafeInteger(properties.priority)) read.priority = properties.priority as number;
  const expiration = properties.expiration;
  if (typeof expiration === 'string') read.expiration = expiration;
  else if (typeof expiration === 'number') read.expiration = String(expiration);
  return read;
}

function bodyEncoding(encoding: unknown): 'base64' | 'utf8' {
  if (encoding === 'base64') return 'base64';
  if (encoding === undefined || encoding === null || encoding === 'utf-8' || encoding === 'utf8') return 'utf8';
  throw new WireError('E_DECODE', `the envelope's body_encoding ${JSON.stringify(String(encoding).slice(0, 40))} is unknown`);
}

function base64Of(body: EncodedBody): string {
  switch (body.encoding) {
    case 'utf8':
      return Buffer.from(body.data, 'utf8').toString('base64');
    case 'base64':
      return PLAIN_BASE64.test(body.data) ? body.data : Buffer.from(body.data, 'base64').toString('base64');
    case 'binary':
      return Buffer.from(body.data.buffer, body.data.byteOffset, body.data.byteLength).toString('base64');
  }
}

/** The body is pasted between quotes: anything but base64 (line breaks, quotes) would break out of them. */
const PLAIN_BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

function headersJson(headers: Readonly<Record<string, unknown>>): string {
  try {
    return usualHeadersJson(headers) ?? JSON.stringify(headers);
  } catch {
    try {
      return encodeJson(headers, { path: 'headers' });
    } catch (cause) {
      throw new WireError('E_DECODE', 'the headers of the message cannot be written', { cause });
    }
  }
}

/**
 * The headers of a message with exactly those that `encodeTaskMessage` writes, in half the time of JSON.stringify; null when
 * there are others, or one of another type.
 */
function usualHeadersJson(headers: Readonly<Record<string, unknown>>): string | null {
  let count = 0;
  for (const _name in headers) count++;
  const {
    lang,
    task,
    id,
    root_id,
    argsrepr,
    kwargsrepr,
    origin,
    retries,
    replaced_task_nesting: nesting,
    ignore_result,
    timelimit,
    stamps,
  } = headers;
  if (
    count !== 19 ||
    typeof lang !== 'string' ||
    typeof task !== 'string' ||
    typeof id !== 'string' ||
    typeof root_id !== 'string'
  )
    return null;
  if (
    typeof argsrepr !== 'string' ||
    typeof kwargsrepr !== 'string' ||
    typeof origin !== 'string' ||
    typeof ignore_result !== 'boolean'
  )
    return null;
  if (!Number.isSafeInteger(retries) || !Number.isSafeInteger(nesting) || !Array.isArray(timelimit) || timelimit.length !== 2)
    return null;
  if (headers.stamped_headers !== null || typeof stamps !== 'object' || stamps === null) return null;
  for (const _stamp in stamps) return null;
  const shadow = orNull(headers.shadow);
  const eta = orNull(headers.eta);
  const expires = orNull(headers.expires);
  const group = orNull(headers.group);
  const parent = orNull(headers.parent_id);
  const index = headers.group_index;
  const limits = timelimit[0] === null && timelimit[1] === null ? '[null,null]' : JSON.stringify(timelimit);
  if (shadow === null || eta === null || expires === null || group === null || parent === null) return null;
  if (index !== null && !Number.isSafeInteger(index)) return null;
  const idJson = quote(id);
  const root = root_id === id ? idJson : quote(root_id);
  const names = `{"lang":${sharedQuote(LANG, lang)},"task":${sharedQuote(TASK, task)}`;
  return (
    `${names},"id":${idJson},"shadow":${shadow},"eta":${eta},"expires":${expires},"group":${group},` +
    `"group_index":${index as number | null},"retries":${retries as number},"timelimit":${limits},"root_id":${root},"parent_id":${parent},` +
    `"argsrepr":${quote(argsrepr)},"kwargsrepr":${sharedQuote(KWARGS, kwargsrepr)},"origin":${sharedQuote(ORIGIN, origin)},"ignore_result":${ignore_result},` +
    `"replaced_task_nesting":${nesting as number},"stamped_headers":null,"stamps":{}}`
  );
}

/** JSON of a text or null; null itself means that it is neither. */
function orNull(value: unknown): string | null {
  return value === null ? 'null' : typeof value === 'string' ? quote(value) : null;
}

const JSON_CONTENT = '"content-encoding":"utf-8","content-type":"application/json"';

function contentJson({ contentType, contentEncoding }: WireMessage): string {
  if (contentType === 'application/json' && contentEncoding === 'utf-8') return JSON_CONTENT;
  return `"content-encoding":${quote(contentEncoding)},"content-type":${quote(contentType)}`;
}

/** Whatever JSON escapes, and surrogates, of which JSON.stringify finds the lone ones. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON escapes control characters
const NEEDS_ESCAPE = /["\\\u0000-\u001f\ud800-\udfff]/;

/** A JSON string; ids and names rarely need escapes, and looking is cheaper than JSON.stringify. */
function quote(text: string): string {
  return NEEDS_ESCAPE.test(text) ? JSON.stringify(text) : `"${text}"`;
}

/** Texts that most messages of a process share, each by its place; the last one of a place is remembered. */
const [LANG, TASK, KWARGS, ORIGIN, EXCHANGE, ROUTING_KEY] = [0, 1, 2, 3, 4, 5];
const lastTexts: string[] = ['', '', '', '', '', ''];
const lastQuotes: string[] = ['""', '""', '""', '""', '""', '""'];

function sharedQuote(place: number, text: string): string {
  if (text === lastTexts[place]) return lastQuotes[place] as string;
  lastTexts[place] = text;
  const quoted = quote(text);
  lastQuotes[place] = quoted;
  return quoted;
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The bytes between a queue's name and its priority step. */
export const PRIORITY_SEPARATOR = '\u0006\u0016';
/** kombu's default `priority_steps`. */
export const PRIORITY_STEPS: readonly number[] = [0, 3, 6, 9];

/** Our priority (0 to 9, higher = sooner) as it stands on the wire of Redis, where lower is served first. */
export function redisPriority(priority: number): number {
  return 9 - priority;
}

/** The lists of a queue, the one served first in front. */
export function queueKeys(queue: string, steps: readonly number[] = PRIORITY_STEPS, separator = PRIORITY_SEPARATOR): string[] {
  return steps.map((step) => (step === 0 ? queue : `${queue}${separator}${step}`));
}

/** The list for a wire priority: the largest step that is not above it. A negative one wraps to the last, as in kombu. */
export function queueKey(
  queue: string,
  priority: number,
  steps: readonly number[] = PRIORITY_STEPS,
  separator = PRIORITY_SEPARATOR,
): string {
  let step = steps[steps.length - 1] ?? 0;
  if (priority >= (steps[0] ?? 0)) {
    for (const candidate of steps) {
      if (candidate > priority) break;
      step = candidate;
    }
  }
  return step === 0 ? queue : `${queue}${separator}${step}`;
}
