/**
 * Stop 3 of the walk: a task call becomes a message of Celery's protocol 2 (wire sections 2.1 to 2.5). Reading back is
 * `task-headers.ts` (what the engine needs) and `task-body.ts` (what the executor needs), re-exported here.
 * Next stop: `brokers/broker.ts`.
 */
import { ArgumentError } from '../core/errors.js';
import { isoFromMs, isPythonInstant, parseIsoMs } from './iso-time.js';
import type { EncodedBody, MessageProperties, WireMessage } from './message.js';
import { reprArgs, reprKwargs, type SecretArgs } from './python-repr.js';
import { encodeJson, isPlainJson, type JsonMode } from './serializers/json.js';
import { compressBody, contentOf, encodeWith, GZIP_CONTENT_TYPE, type SerializerName } from './serializers/registry.js';
import { PROTOCOL_HEADERS } from './task-headers.js';

export { retrySuccessor } from './retry-successor.js';
export { decodeTaskBody, upgradeProtocol1 } from './task-body.js';
export { isBrokerMark, PROTOCOL_HEADERS, readTaskHeaders, type TaskHeaders, userHeaders } from './task-headers.js';

/** One call of a task: everything that ends up in its message. */
export interface TaskCall {
  readonly task: string;
  readonly id: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  /** Signatures to run after success, after failure, next in the chain (in reverse order), and the chord's body. */
  readonly callbacks?: readonly unknown[] | null;
  readonly errbacks?: readonly unknown[] | null;
  readonly chain?: readonly unknown[] | null;
  readonly chord?: unknown;
  /** Not before this time. Text is written as it is. */
  readonly eta?: Date | string | null;
  /** Not after this time. Text is written as it is. */
  readonly expires?: Date | string | null;
  readonly retries?: number;
  /** Milliseconds; seconds on the wire. */
  readonly timeLimitMs?: number | null;
  readonly softTimeLimitMs?: number | null;
  /** @defaultValue the task's own id */
  readonly rootId?: string | null;
  readonly parentId?: string | null;
  readonly groupId?: string | null;
  readonly groupIndex?: number | null;
  readonly shadow?: string | null;
  readonly ignoreResult?: boolean;
  /** The sender's reply queue, for `rpc:` results. @defaultValue `''` */
  readonly replyTo?: string | null;
  /** Who sends, for people. @defaultValue `'lovage'` */
  readonly origin?: string;
  /** Exactly as it goes on the wire, in the broker's own sense. @defaultValue 0 */
  readonly priority?: number;
  /** User headers, merged flat among the protocol's; JSON values only. */
  readonly headers?: Readonly<Record<string, unknown>> | null;
  readonly stampedHeaders?: readonly string[] | null;
  readonly stamps?: Readonly<Record<string, unknown>> | null;
  readonly replacedTaskNesting?: number;
  /** 2 = persistent. @defaultValue 2 */
  readonly deliveryMode?: 1 | 2;
  /** Texts for people instead of the reprs made here. */
  readonly argsrepr?: string;
  readonly kwargsrepr?: string;
  /** Arguments that must not show in the reprs: all, or these positions and keywords. */
  readonly secretArgs?: SecretArgs;
}

export interface EncodeTaskOptions {
  /** Wall time, for the message's `expiration`. */
  readonly nowMs: number;
  /** @defaultValue `'tagged'` */
  readonly json?: JsonMode;
  /** @defaultValue `'json'` */
  readonly serializer?: SerializerName;
  /** `gzip` is what Celery calls it; it is a zlib stream. @defaultValue `null` */
  readonly compression?: 'gzip' | null;
  /** Largest body in bytes. @defaultValue no limit */
  readonly maxMessageBytes?: number;
  /** Language of the sender. @defaultValue `'js'` */
  readonly lang?: string;
}

/** AMQP has one byte for the length of a property or of a header's name. */
const LONGEST_SHORT_TEXT = 255;

const EMPTY_EMBED = '{"callbacks":null,"errbacks":null,"chain":null,"chord":null}';
const NO_STAMPS: Readonly<Record<string, unknown>> = Object.freeze({});

/**
 * The message of a task call.
 * @throws ArgumentError `E_NOT_SERIALISABLE` (with the path), `E_MESSAGE_TOO_LARGE`, `E_ARGUMENTS` (a user header with a
 * name of the protocol, an eta or expires that is no time)
 */
export function encodeTaskMessage(call: TaskCall, options: EncodeTaskOptions): WireMessage {
  const { id, args, kwargs } = call;
  checkName('task', call.task, 1024);
  checkName('id', id, LONGEST_SHORT_TEXT);
  checkArguments(args, kwargs);
  const serializer = options.serializer ?? 'json';
  const mode = options.json ?? 'tagged';
  let body: EncodedBody;
  if (serializer === 'json') {
    const argsJson = args.length === 0 ? '[]' : encodeJson(args, { mode, path: 'args' });
    body = { encoding: 'utf8', data: `[${argsJson},${encodeJson(kwargs, { mode, path: 'kwargs' })},${encodeEmbed(call, mode)}]` };
  } else {
    const embed = {
      callbacks: call.callbacks ?? null,
      errbacks: call.errbacks ?? null,
      chain: call.chain ?? null,
      chord: call.chord ?? null,
    };
    body = encodeWith(serializer, [args, kwargs, embed], 'message', mode);
  }
  checkSize(call, body, options.maxMessageBytes);

  const headers: Record<string, unknown> = {
    lang: options.lang ?? 'js',
    task: call.task,
    id,
    shadow: call.shadow ?? null,
    eta: call.eta == null ? null : timeText('eta', call.eta),
    expires: call.expires == null ? null : timeText('expires', call.expires),
    group: call.groupId ?? null,
    group_index: call.groupIndex ?? null,
    retries: integer('retries', call.retries ?? 0),
    timelimit: [seconds(call.timeLimitMs), seconds(call.softTimeLimitMs)],
    root_id: call.rootId ?? id,
    parent_id: call.parentId ?? null,
    argsrepr: call.argsrepr ?? reprArgs(args, call.secretArgs),
    kwargsrepr: call.kwargsrepr ?? reprKwargs(kwargs, call.secretArgs),
    origin: call.origin ?? 'lovage',
    ignore_result: call.ignoreResult ?? false,
    replaced_task_nesting: call.replacedTaskNesting ?? 0,
    stamped_headers: call.stampedHeaders ?? null,
    stamps: call.stamps ?? NO_STAMPS,
  };
  if (call.headers != null) mergeUserHeaders(headers, call.headers);
  if (options.compression === 'gzip') {
    body = compressBody(body);
    headers.compression = GZIP_CONTENT_TYPE;
  }
  const base = {
    correlation_id: id,
    reply_to: call.replyTo ?? '',
    delivery_mode: call.deliveryMode ?? 2,
    priority: integer('priority', call.priority ?? 0),
  } as const;
  const properties: MessageProperties =
    headers.expires === null ? base : { ...base, expiration: expirationText(headers.expires as string, options.nowMs) };
  const content = contentOf(serializer);
  return { contentType: content.contentType, contentEncoding: content.contentEncoding, headers, properties, body };
}

/** The `expiration` property: milliseconds left, as decimal text; `"0"` when the time is past. */
export function expirationText(expires: string, nowMs: number): string {
  const ms = parseIsoMs(expires);
  return ms === null ? '0' : String(Math.max(0, Math.floor(ms - nowMs)));
}

function encodeEmbed(call: TaskCall, mode: JsonMode): string {
  const { callbacks, errbacks, chain, chord } = call;
  if (callbacks == null && errbacks == null && chain == null && chord == null) return EMPTY_EMBED;
  const part = (name: string, value: unknown): string =>
    `"${name}":${value == null ? 'null' : encodeJson(value, { mode, path: name })}`;
  return `{${part('callbacks', callbacks)},${part('errbacks', errbacks)},${part('chain', chain)},${part('chord', chord)}}`;
}

function seconds(ms: number | null | undefined): number | null {
  if (ms == null) return null;
  if (!Number.isFinite(ms)) throw new ArgumentError('E_ARGUMENTS', `a time limit is ${ms}: leave it out for none`);
  return ms / 1000;
}

function integer(name: string, value: number): number {
  if (!Number.isSafeInteger(value)) throw new ArgumentError('E_ARGUMENTS', `${name} is ${value}, not an integer`);
  return value;
}

function timeText(name: string, time: Date | string): string {
  if (typeof time === 'string') {
    if (parseIsoMs(time) !== null) return time;
  } else if (isPythonInstant(time.getTime())) return isoFromMs(time.getTime());
  throw new ArgumentError(
    'E_ARGUMENTS',
    `${name} is ${JSON.stringify(String(time).slice(0, 80))}, not a time: pass a Date or ISO 8601 text of the years 1 to 9999`,
  );
}

function checkName(what: string, text: string, longest: number): void {
  if (text !== '' && text.length * 3 <= longest) return;
  const bytes = Buffer.byteLength(text);
  if (bytes > 0 && bytes <= longest) return;
  throw new ArgumentError(
    'E_ARGUMENTS',
    bytes === 0
      ? `the ${what} is empty`
      : `the ${what} ${JSON.stringify(text.slice(0, 40))}… takes ${bytes} bytes; ${longest} fit`,
  );
}

/** Types say so too, but a body with other things in these places makes a Python worker exit. */
function checkArguments(args: unknown, kwargs: unknown): void {
  if (!Array.isArray(args)) throw new ArgumentError('E_ARGUMENTS', 'args is no array');
  const prototype: unknown = typeof kwargs === 'object' && kwargs !== null ? Object.getPrototypeOf(kwargs) : undefined;
  if (prototype !== Object.prototype && prototype !== null) throw new ArgumentError('E_ARGUMENTS', 'kwargs is no plain object');
}

function mergeUserHeaders(headers: Record<string, unknown>, own: Readonly<Record<string, unknown>>): void {
  for (const name of Object.keys(own)) {
    const value = own[name];
    if (value === undefined) continue;
    checkName('name of the header', name, LONGEST_SHORT_TEXT);
    if (PROTOCOL_HEADERS.has(name) || name === '__proto__') {
      throw new ArgumentError(
        'E_ARGUMENTS',
        `headers.${name} is a header of the protocol: choose another name for your own header`,
      );
    }
    // headers cross as an AMQP table or inside the Redis envelope; only plain JSON is the same in both
    if (!isPlainJson(value))
      throw new ArgumentError('E_NOT_SERIALISABLE', `headers.${name} is not a plain JSON value: put it into the arguments`);
    headers[name] = value;
  }
}

function checkSize(call: TaskCall, body: EncodedBody, maxBytes: number | undefined): void {
  if (maxBytes === undefined) return;
  const length = body.data.length;
  // a character is at most three bytes, so counting bytes is needed only near the limit
  if (length <= maxBytes && (body.encoding !== 'utf8' || length * 3 <= maxBytes)) return;
  const bytes = body.encoding === 'utf8' ? Buffer.byteLength(body.data) : length;
  if (bytes <= maxBytes) return;
  throw new ArgumentError(
    'E_MESSAGE_TOO_LARGE',
    `the arguments of ${call.task} take ${bytes} bytes, more than maxMessageSize (${maxBytes}): store the data elsewhere and send where it is`,
  );
}
