/**
 * The JSON shape of a signature: a task call that travels inside another message (wire section 7.1). Shape and merging
 * only; what a chain, group or chord means is `canvas/`.
 */
import { WireError } from '../core/errors.js';

/** What kind of canvas a signature is; `null` = a plain task. */
export type SubtaskType = 'chain' | 'group' | 'chord' | 'xmap' | 'xstarmap' | 'chunks';

/** Options of a signature that have a meaning; others are kept as they are. Names and units are Celery's. */
export interface SignatureOptions {
  readonly task_id?: string;
  readonly queue?: string;
  readonly exchange?: string;
  readonly routing_key?: string;
  /** As it goes on the wire. */
  readonly priority?: number;
  /** Seconds. */
  readonly countdown?: number;
  readonly eta?: string | null;
  /** Seconds from now, or ISO text. */
  readonly expires?: number | string | null;
  readonly link?: unknown;
  readonly link_error?: unknown;
  readonly group_id?: string;
  readonly group_index?: number;
  readonly chord?: unknown;
  readonly root_id?: string;
  readonly parent_id?: string;
  readonly reply_to?: string;
  /** Seconds. */
  readonly time_limit?: number | null;
  /** Seconds. */
  readonly soft_time_limit?: number | null;
  readonly shadow?: string;
  readonly headers?: Readonly<Record<string, unknown>>;
  readonly ignore_result?: boolean;
  readonly replaced_task_nesting?: number;
  readonly stamped_headers?: readonly string[];
  readonly [name: string]: unknown;
}

/** A signature as it stands in JSON. */
export interface WireSignature {
  readonly task: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly options: SignatureOptions;
  readonly subtask_type: SubtaskType | null;
  /** Arguments of the call that runs it are ignored. */
  readonly immutable: boolean;
  /** Written by older versions for chords. */
  readonly chord_size?: number | null;
}

/** A signature with every part filled in. */
export function makeSignature(task: string, parts: Partial<Omit<WireSignature, 'task'>> = {}): WireSignature {
  return {
    task,
    args: parts.args ?? [],
    kwargs: parts.kwargs ?? {},
    options: parts.options ?? {},
    subtask_type: parts.subtask_type ?? null,
    immutable: parts.immutable ?? false,
  };
}

const TYPES: ReadonlySet<unknown> = new Set(['chain', 'group', 'chord', 'xmap', 'xstarmap', 'chunks']);

/**
 * Reads a signature from decoded JSON; absent parts get their defaults, unknown keys are dropped.
 * @throws WireError `E_DECODE` when it is no signature; `where` is named in the message
 */
export function parseSignature(value: unknown, where = 'the signature'): WireSignature {
  if (!isObject(value)) throw new WireError('E_DECODE', `${where} is no object`);
  const { task, args, kwargs, options, subtask_type, immutable, chord_size } = value;
  if (typeof task !== 'string' || task === '') throw new WireError('E_DECODE', `${where} has no task name`);
  if (args != null && !Array.isArray(args)) throw new WireError('E_DECODE', `${where}: args is no array`);
  if (kwargs != null && !isObject(kwargs)) throw new WireError('E_DECODE', `${where}: kwargs is no object`);
  if (options != null && !isObject(options)) throw new WireError('E_DECODE', `${where}: options is no object`);
  return {
    task,
    args: (args as unknown[] | null | undefined) ?? [],
    kwargs: (kwargs as Record<string, unknown> | null | undefined) ?? {},
    options: (options as SignatureOptions | null | undefined) ?? {},
    subtask_type: TYPES.has(subtask_type) ? (subtask_type as SubtaskType) : null,
    immutable: immutable === true,
    ...(chord_size === undefined ? {} : { chord_size: typeof chord_size === 'number' ? chord_size : null }),
  };
}

/**
 * Signatures of `callbacks`, `errbacks`, `chain`, `link` or `link_error`: absent, one, or an array.
 * @throws WireError `E_DECODE`
 */
export function parseSignatures(value: unknown, where = 'the signatures'): WireSignature[] {
  if (value === null || value === undefined) return [];
  if (!Array.isArray(value)) return [parseSignature(value, where)];
  return value.map((item, index) => parseSignature(item, `${where}[${index}]`));
}

/** What a call adds to a signature that it runs. */
export interface SignatureCall {
  readonly args?: readonly unknown[];
  readonly kwargs?: Readonly<Record<string, unknown>>;
  readonly options?: SignatureOptions;
}

/**
 * A signature as it is run by a call: new args in front, kwargs and options merged with the call's winning; an immutable
 * one takes only the options.
 */
export function mergeSignature(signature: WireSignature, call: SignatureCall): WireSignature {
  const options = call.options === undefined ? signature.options : { ...signature.options, ...call.options };
  if (signature.immutable) return { ...signature, options };
  return {
    ...signature,
    args: call.args === undefined ? signature.args : [...call.args, ...signature.args],
    kwargs: call.kwargs === undefined ? signature.kwargs : { ...signature.kwargs, ...call.kwargs },
    options,
  };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
