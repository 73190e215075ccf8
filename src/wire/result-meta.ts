/**
 * The stored result of a task (wire sections 6.2 and 6.8): written by string concatenation in Celery's field order, because
 * this runs once for every task; read into a typed form.
 */
import { WireError } from '../core/errors.js';
import { isoFromMs, parseIsoMs } from './iso-time.js';
import { type DecodeJsonLimits, decodeJson, encodeJson } from './serializers/json.js';

/** What is written about a task. */
export interface ResultMetaInput {
  readonly status: string;
  /** The result, progress data or exception, already as JSON text. */
  readonly resultJson: string;
  readonly traceback: string | null;
  /** Ids of tasks sent from inside; `null` when nothing is known (a revocation). */
  readonly children: readonly string[] | null;
  /** Wall time of the end; `null` for states that are not final. */
  readonly dateDone: number | null;
  readonly taskId: string;
  readonly groupId?: string | null;
  readonly parentId?: string | null;
  /** Celery's `result_extended`. */
  readonly extended?: ExtendedMeta | null;
}

/** The fields that Celery's `result_extended` adds. */
export interface ExtendedMeta {
  readonly name?: string | null;
  readonly args?: unknown;
  readonly kwargs?: unknown;
  /** Node name. */
  readonly worker?: string | null;
  readonly retries?: number;
  /** The routing key. */
  readonly queue?: string | null;
}

/** What was read about a task. */
export interface ResultMeta {
  readonly status: string;
  readonly result: unknown;
  readonly traceback: string | null;
  /** Ids of tasks sent from inside; groups among them by the id of the group. */
  readonly children: readonly string[] | null;
  readonly dateDone: Date | null;
  readonly taskId: string;
  readonly groupId: string | null;
  readonly parentId: string | null;
  readonly extended: ExtendedMeta | null;
}

/** The JSON text of a result as Celery's Redis backend stores it. */
export function encodeResultMeta(meta: ResultMetaInput): string {
  let text = `{"status":${quote(meta.status)},"result":${meta.resultJson},"traceback":${nullable(meta.traceback)},"children":${childrenJson(meta.children)}`;
  text += meta.dateDone === null ? ',"date_done":null' : `,"date_done":"${isoFromMs(meta.dateDone)}"`;
  if (meta.groupId != null) text += `,"group_id":${quote(meta.groupId)}`;
  if (meta.parentId != null) text += `,"parent_id":${quote(meta.parentId)}`;
  if (meta.extended != null) text += extendedJson(meta.extended);
  return `${text},"task_id":${quote(meta.taskId)}}`;
}

/** The JSON body of a result message of `rpc:`: fewer fields, no date, the id first. */
export function encodeRpcMeta(
  meta: Pick<ResultMetaInput, 'taskId' | 'status' | 'resultJson' | 'traceback' | 'children'>,
): string {
  return (
    `{"task_id":${quote(meta.taskId)},"status":${quote(meta.status)},"result":${meta.resultJson},` +
    `"traceback":${nullable(meta.traceback)},"children":${childrenJson(meta.children)}}`
  );
}

/**
 * Reads a stored result or an `rpc:` result, of Celery 5.2 (times without offset are UTC), 5.6 or ours.
 * @throws WireError `E_DECODE`
 */
export function decodeResultMeta(text: string, limits?: DecodeJsonLimits): ResultMeta {
  const meta = decodeJson(text, limits);
  if (!isObject(meta) || typeof meta.status !== 'string')
    throw new WireError('E_DECODE', 'the stored text is no result: it has no status');
  return {
    status: meta.status,
    result: meta.result ?? null,
    traceback: typeof meta.traceback === 'string' ? meta.traceback : null,
    children: Array.isArray(meta.children) ? meta.children.map(childId).filter((id) => id !== null) : null,
    dateDone: dateOf(meta.date_done),
    taskId: textOrNull(meta.task_id) ?? '',
    groupId: textOrNull(meta.group_id),
    parentId: textOrNull(meta.parent_id),
    extended: readExtended(meta),
  };
}

function readExtended(meta: Record<string, unknown>): ExtendedMeta | null {
  if (!('name' in meta) && !('worker' in meta) && !('queue' in meta)) return null;
  return {
    name: textOrNull(meta.name),
    args: meta.args,
    kwargs: meta.kwargs,
    worker: textOrNull(meta.worker),
    ...(typeof meta.retries === 'number' ? { retries: meta.retries } : {}),
    queue: textOrNull(meta.queue),
  };
}

/** The id in a result tuple `[[id, parent], children]`; also of a bare `[id, parent]` or an id alone. */
function childId(tuple: unknown): string | null {
  let inner: unknown = tuple;
  for (let level = 0; level < 2 && Array.isArray(inner); level++) inner = inner[0];
  return textOrNull(inner);
}

/** A result tuple of Celery (wire section 6.5): `[[id, null], null]`. */
function childrenJson(children: readonly string[] | null): string {
  if (children === null) return 'null';
  if (children.length === 0) return '[]';
  return `[${children.map((id) => `[[${quote(id)},null],null]`).join(',')}]`;
}

function extendedJson(extended: ExtendedMeta): string {
  let text = '';
  for (const name of ['name', 'args', 'kwargs', 'worker', 'retries', 'queue'] as const) {
    if (extended[name] !== undefined) text += `,"${name}":${encodeJson(extended[name], { path: name })}`;
  }
  return text;
}

/** `date_done` is a typed value when some serializer made it one, else text. */
function dateOf(value: unknown): Date | null {
  if (value instanceof Date) return value;
  const ms = typeof value === 'string' ? parseIsoMs(value) : null;
  return ms === null ? null : new Date(ms);
}

const quote = (text: string): string => JSON.stringify(text);
const nullable = (text: string | null): string => (text === null ? 'null' : JSON.stringify(text));

function textOrNull(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
