/**
 * Celery's remote control (wire section 8): requests to all workers, and their replies. What the commands do is `control/`.
 */
import { WireError } from '../core/errors.js';
import { type AddressedMessage, addressed } from './broadcast-message.js';
import type { WireMessage } from './message.js';
import type { JsonMode } from './serializers/json.js';
import { type DecodeBodyOptions, decodeBody } from './serializers/registry.js';

/** The fanout exchange of requests; `name` is Celery's `control_exchange`. */
export function controlExchange(name = 'celery'): string {
  return `${name}.pidbox`;
}

/** The direct exchange of replies. */
export function replyExchange(name = 'celery'): string {
  return `reply.${name}.pidbox`;
}

/** The queue in which a client with this id hears replies; its routing key is the id itself. */
export function replyQueue(clientId: string, name = 'celery'): string {
  return replyQueueOn(replyExchange(name), clientId);
}

/** The same by the exchange. */
export function replyQueueOn(exchange: string, clientId: string): string {
  return `${clientId}.${exchange}`;
}

/** Commands that Celery's workers know, by all their names; an app's own have others. */
export const CELERY_COMMANDS: ReadonlySet<string> = new Set(
  `active active_queues add_consumer autoscale cancel_consumer clock conf disable_events dump_active dump_conf dump_reserved
  dump_revoked dump_schedule dump_tasks election enable_events heartbeat hello memdump memsample objgraph ping pool_grow
  pool_restart pool_shrink query_task rate_limit registered report reserved revoke revoke_by_stamped_headers revoked scheduled
  shutdown stats terminate time_limit`.split(/\s+/),
);

/** As a destination: every worker of ours. No node of Celery has such a name, for each of theirs has an @ in it. */
export const OUR_WORKERS = 'lovage';

/** Where a reply is wanted. */
export interface ReplyAddress {
  readonly exchange: string;
  readonly routingKey: string;
}

/** A request to workers. */
export interface ControlRequest {
  readonly method: string;
  readonly arguments: Readonly<Record<string, unknown>>;
  /** Node names; `null` or empty = everybody. */
  readonly destination: readonly string[] | null;
  /** Node names by pattern, when there is no destination. */
  readonly pattern: string | null;
  readonly matcher: 'glob' | 'pcre' | null;
  /** Set when a reply is wanted; replies carry it. */
  readonly ticket: string | null;
  readonly replyTo: ReplyAddress | null;
  /** The sender's logical clock. */
  readonly clock: number;
  /** Unix seconds after which nobody waits any more; 0 = none. */
  readonly expires: number;
}

/** What a client gives to make a request; everything but the method has a default. */
export type ControlRequestInput = Pick<ControlRequest, 'method'> & Partial<Omit<ControlRequest, 'method'>>;

/**
 * The message of a request.
 * @throws ArgumentError `E_NOT_SERIALISABLE` for arguments that cannot travel
 */
export function encodeControlRequest(
  request: ControlRequestInput,
  options: { readonly controlExchange?: string; readonly json?: JsonMode } = {},
): AddressedMessage {
  const body: Record<string, unknown> = {
    method: request.method,
    arguments: request.arguments ?? {},
    destination: request.destination ?? null,
    pattern: request.pattern ?? null,
    matcher: request.matcher ?? null,
  };
  if (request.ticket != null && request.replyTo != null) {
    body.ticket = request.ticket;
    body.reply_to = { exchange: request.replyTo.exchange, routing_key: request.replyTo.routingKey };
  }
  return addressed(
    { exchange: controlExchange(options.controlExchange), routingKey: '' },
    { clock: request.clock ?? 0, expires: request.expires ?? 0 },
    body,
    { deliveryMode: 2, path: 'request', json: options.json ?? 'tagged' },
  );
}

/**
 * Reads a request.
 * @throws WireError `E_DECODE` when it has no method, and all that `decodeBody` throws
 */
export function decodeControlRequest(message: WireMessage, options?: DecodeBodyOptions): ControlRequest {
  const body = decodeBody(message, options);
  if (!isObject(body) || typeof body.method !== 'string') throw new WireError('E_DECODE', 'the control message has no method');
  const { destination, pattern, matcher, ticket, reply_to } = body;
  const given = body.arguments ?? {};
  if (!isObject(given)) throw new WireError('E_DECODE', 'the arguments of the control message are no object');
  return {
    method: body.method,
    arguments: given,
    destination: Array.isArray(destination)
      ? (destination as unknown[]).filter((name) => typeof name === 'string')
      : typeof destination === 'string'
        ? [destination]
        : null,
    pattern: typeof pattern === 'string' ? pattern : null,
    matcher: matcher === 'glob' || matcher === 'pcre' ? matcher : null,
    ticket: typeof ticket === 'string' ? ticket : null,
    replyTo:
      isObject(reply_to) && typeof reply_to.routing_key === 'string'
        ? { exchange: textOf(reply_to.exchange), routingKey: reply_to.routing_key }
        : null,
    clock: numberOf(message.headers.clock),
    expires: numberOf(message.headers.expires),
  };
}

/** Longer patterns match nothing: they are no node names, only work for the matcher. */
const LONGEST_PATTERN = 256;

/** Whether this node must act on the request: by its destination, else by its pattern, else always. */
export function isAddressedTo(request: ControlRequest, nodeName: string): boolean {
  if (request.destination !== null && request.destination.length > 0) return request.destination.includes(nodeName);
  if (request.pattern === null || request.pattern === '' || request.matcher === null) return true;
  if (request.pattern.length > LONGEST_PATTERN) return false;
  if (request.matcher === 'glob') return globMatches(request.pattern, nodeName);
  try {
    return new RegExp(`^(?:${request.pattern})`).test(nodeName);
  } catch {
    return false;
  }
}

/** Python's fnmatch: `*`, `?`, `[seq]`, `[!seq]`. Goes back to the last star only, so its time is bounded by pattern x name. */
function globMatches(pattern: string, name: string): boolean {
  let p = 0;
  let n = 0;
  let star = -1;
  let resume = 0;
  while (n < name.length) {
    const step = p < pattern.length ? matchOne(pattern, p, name[n] as string) : null;
    if (p < pattern.length && pattern[p] === '*') {
      star = p++;
      resume = n;
    } else if (step !== null && step > 0) {
      p += step;
      n++;
    } else if (star >= 0) {
      p = star + 1;
      n = ++resume;
    } else return false;
  }
  while (pattern[p] === '*') p++;
  return p === pattern.length;
}

/** How many characters of the pattern matched this one character; 0 or null = it does not match. */
function matchOne(pattern: string, at: number, char: string): number | null {
  const code = pattern[at];
  if (code === '?') return 1;
  if (code !== '[') return code === char ? 1 : null;
  const negated = pattern[at + 1] === '!';
  const from = at + (negated ? 2 : 1);
  // a ] right after the opening stands for itself
  const end = pattern.indexOf(']', from + 1);
  if (end < 0) return char === '[' ? 1 : null;
  let found = false;
  for (let i = from; i < end; i++) {
    const low = pattern[i] as string;
    if (pattern[i + 1] === '-' && i + 2 < end) {
      if (low <= char && char <= (pattern[i + 2] as string)) found = true;
      i += 2;
    } else if (low === char) found = true;
  }
  return found !== negated ? end - at + 1 : null;
}

/** A header of ours on a reply whose list goes on. */
const NEXT_HEADER = 'lovage_next';

/**
 * An argument of ours that asks for a list from this item on. Celery's workers pass over it, where a command takes further
 * arguments at all: `active`, `reserved`, `scheduled`, `registered`, `revoked`.
 */
export const FROM_ARGUMENT = 'lovage_from';

/**
 * The message of a reply: the node's name and its answer.
 * @throws ArgumentError `E_NOT_SERIALISABLE` for an answer that cannot travel
 */
export function encodeControlReply(
  nodeName: string,
  value: unknown,
  options: {
    readonly replyTo: ReplyAddress;
    readonly ticket: string | null;
    readonly clock: number;
    /** Where the next page of a list begins; only Lovage writes and reads it. */
    readonly next?: number | null;
    readonly json?: JsonMode;
  },
): AddressedMessage {
  const headers: Record<string, unknown> = { ticket: options.ticket, clock: options.clock };
  if (options.next != null) headers[NEXT_HEADER] = options.next;
  return addressed(
    options.replyTo,
    headers,
    { [nodeName]: value ?? null },
    { deliveryMode: 1, path: 'reply', json: options.json ?? 'tagged' },
  );
}

/** A reply of a node. */
export interface ControlReply {
  readonly ticket: string | null;
  readonly clock: number;
  /** Where the rest of a list begins (`FROM_ARGUMENT`); `null` = this is all. */
  readonly next: number | null;
  /** Node names with their answers; one in practice. */
  readonly answers: readonly (readonly [nodeName: string, value: unknown])[];
}

/**
 * Reads a reply.
 * @throws WireError `E_DECODE` when the body is no object, and all that `decodeBody` throws
 */
export function decodeControlReply(message: WireMessage, options?: DecodeBodyOptions): ControlReply {
  const body = decodeBody(message, options);
  if (!isObject(body)) throw new WireError('E_DECODE', 'the body of the reply is no object');
  const { ticket, clock, [NEXT_HEADER]: next } = message.headers;
  return {
    ticket: typeof ticket === 'string' ? ticket : null,
    clock: numberOf(clock),
    next: typeof next === 'number' && Number.isSafeInteger(next) && next > 0 ? next : null,
    answers: Object.entries(body),
  };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');
const numberOf = (value: unknown): number => (typeof value === 'number' && Number.isFinite(value) ? value : 0);
