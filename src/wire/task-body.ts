/**
 * The body of a task message: `[args, kwargs, embed]` (wire section 2.4), and protocol 1 (2.7), whose body is one object.
 * Read by the executor only. Several of the malformed bodies refused here make a Python worker exit (section 11).
 */
import { ArgumentError, WireError } from '../core/errors.js';
import type { WireMessage } from './message.js';
import { reprArgs, reprKwargs } from './python-repr.js';
import { encodeJson } from './serializers/json.js';
import { type DecodeBodyOptions, decodeBody } from './serializers/registry.js';

/** A decoded task body. Parts of `embed` that are absent are `null`. */
export interface TaskBody {
  readonly args: unknown[];
  readonly kwargs: Record<string, unknown>;
  readonly embed: {
    readonly callbacks: readonly unknown[] | null;
    readonly errbacks: readonly unknown[] | null;
    /** The rest of the chain in reverse: the next step is the last element. */
    readonly chain: readonly unknown[] | null;
    /** The chord body that this task must report to. */
    readonly chord: Readonly<Record<string, unknown>> | null;
  };
}

const NO_EMBED: TaskBody['embed'] = Object.freeze({ callbacks: null, errbacks: null, chain: null, chord: null });

/**
 * Decodes and checks the body of a protocol 2 message.
 *
 * `args` that are no array are wrong arguments rather than no message: Python stores a FAILURE for them, so the sender
 * learns of it; that is an ArgumentError here and a WireError in every other case.
 * @throws WireError `E_DECODE` (not three items, kwargs no object, …) and all that `decodeBody` throws
 * @throws ArgumentError `E_ARGUMENTS` when `args` is no array
 */
export function decodeTaskBody(message: WireMessage, options?: DecodeBodyOptions): TaskBody {
  const body = decodeBody(message, options);
  if (!Array.isArray(body)) throw new WireError('E_DECODE', `the body is ${kindOf(body)}, not an array [args, kwargs, embed]`);
  if (body.length !== 3)
    throw new WireError('E_DECODE', `the body has ${body.length} items, not the three of [args, kwargs, embed]`);
  const [args, kwargs, embed] = body as [unknown, unknown, unknown];
  if (!isObject(kwargs)) throw new WireError('E_DECODE', `kwargs is ${kindOf(kwargs)}, not an object`);
  if (!Array.isArray(args)) throw new ArgumentError('E_ARGUMENTS', `args is ${kindOf(args)}, not an array`);
  return { args: args as unknown[], kwargs, embed: readEmbed(embed) };
}

function readEmbed(embed: unknown): TaskBody['embed'] {
  if (embed === null || embed === undefined) return NO_EMBED;
  if (!isObject(embed)) throw new WireError('E_DECODE', `embed is ${kindOf(embed)}, not an object`);
  const { callbacks, errbacks, chain, chord } = embed;
  if (callbacks == null && errbacks == null && chain == null && chord == null) return NO_EMBED;
  return {
    callbacks: listOf('callbacks', callbacks),
    errbacks: listOf('errbacks', errbacks),
    chain: listOf('chain', chain),
    chord: chordOf(chord),
  };
}

function listOf(name: string, value: unknown): readonly unknown[] | null {
  if (value === null || value === undefined) return null;
  if (Array.isArray(value)) return value as unknown[];
  throw new WireError('E_DECODE', `embed.${name} is ${kindOf(value)}, not an array of signatures`);
}

function chordOf(value: unknown): Readonly<Record<string, unknown>> | null {
  if (value === null || value === undefined) return null;
  if (isObject(value)) return value;
  throw new WireError('E_DECODE', `embed.chord is ${kindOf(value)}, not a signature`);
}

/**
 * A protocol 1 message as protocol 2: headers made from the body, body rewritten as `[args, kwargs, embed]` in JSON.
 * @throws WireError `E_DECODE` when the body is no protocol 1 task either, and all that `decodeBody` throws
 */
export function upgradeProtocol1(message: WireMessage, options?: DecodeBodyOptions): WireMessage {
  const body = decodeBody(message, options);
  if (!isObject(body) || typeof body.task !== 'string') {
    throw new WireError('E_DECODE', 'the message has no task header and its body is no task of protocol 1');
  }
  const args = body.args ?? [];
  const kwargs = body.kwargs ?? {};
  if (!Array.isArray(args)) throw new WireError('E_DECODE', `args is ${kindOf(args)}, not an array`);
  if (!isObject(kwargs)) throw new WireError('E_DECODE', `kwargs is ${kindOf(kwargs)}, not an object`);
  const embed = { callbacks: body.callbacks ?? null, errbacks: body.errbacks ?? null, chain: null, chord: body.chord ?? null };
  const { compression: _compression, ...userHeaders } = message.headers;
  const headers = {
    ...userHeaders,
    task: body.task,
    id: body.id,
    eta: timeText(body.eta),
    expires: timeText(body.expires),
    group: body.taskset ?? body.group ?? null,
    group_index: body.group_index ?? null,
    retries: body.retries ?? 0,
    timelimit: body.timelimit ?? [null, null],
    root_id: body.id,
    parent_id: null,
    argsrepr: reprArgs(args),
    kwargsrepr: reprKwargs(kwargs),
    ignore_result: false,
  };
  return {
    contentType: 'application/json',
    contentEncoding: 'utf-8',
    headers,
    properties: message.properties,
    body: { encoding: 'utf8', data: encodeUpgraded([args, kwargs, embed]) },
  };
}

/** A yaml body may hold a time as such. */
function timeText(value: unknown): unknown {
  return value instanceof Date ? value.toISOString() : (value ?? null);
}

function encodeUpgraded(body: unknown): string {
  try {
    return encodeJson(body, { path: 'body' });
  } catch (cause) {
    // what was decoded cannot be written again: an object with __type__ and __value__ of an unknown type
    throw new WireError('E_DECODE', 'the protocol 1 body holds values that protocol 2 cannot carry', { cause });
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return (
    typeof value === 'object' && value !== null && !Array.isArray(value) && Object.getPrototypeOf(value) === Object.prototype
  );
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'object') return isObject(value) ? 'an object' : 'a typed value';
  return value === undefined ? 'missing' : `a ${typeof value}`;
}
