/**
 * The stored result of a task (wire sections 6.2 and 6.8): written by string concatenation in Celery's field order, because
 * this runs once for every task; read into a typed form.
 */
import { WireError } from '../core/errors.js';
import { isoFromMs, parseIsoMs } from './iso-time.js';
import { type DecodeJsonLimits, decodeJson, encodeJson } from './serializers/json.js';

/** Something sent from inside a task: a task by its id, or a group with its members. */
export type ResultChild = string | { readonly group: string; readonly members: readonly ResultChild[] };

/** What is written about a task. */
export interface ResultMetaInput {
  readonly status: string;
  /** The result, progress data or exception, already as JSON text. */
  readonly resultJson: string;
  readonly traceback: string | null;
  /** What was sent from inside; `null` when nothing is known (a revocation). */
  readonly children: readonly ResultChild[] | null;
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
  /** Ids of tasks sent from inside, those of groups included. */
  readonly children: readonly string[] | null;
  /** The same with the groups that they belong to. */
  readonly childTree: readonly ResultChild[] | null;
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
 * How the reply queue of `rpc:` is declared: by the client that reads it and nobody else, because releases of Celery differ in
 * `durable` and a second declaration that differs is refused.
 * @param ttlMs how long an unread result is kept
 */
export function rpcReplyQueue(ttlMs: number): {
  readonly durable: false;
  readonly autoDelete: true;
  readonly arguments: { readonly 'x-expires': number };
} {
  return { durable: false, autoDelete: true, arguments: { 'x-expires': ttlMs } };
}

/**
 * Reads a stored result or an `rpc:` result, of Celery 5.2 (times without offset are UTC), 5.6 or ours.
 * @throws WireError `E_DECODE`
 */
export function decodeResultMeta(text: string, limits?: DecodeJsonLimits): ResultMeta {
  const meta = decodeJson(text, limits);
  if (!isObject(meta) || typeof meta.status !== 'string')
    throw new WireError('E_DECODE', 'the stored text is no result: it has no status');
  const childTree = Array.isArray(meta.children) ? readChildren(meta.children) : null;
  return {
    status: meta.status,
    result: meta.result ?? null,
    traceback: typeof meta.traceback === 'string' ? meta.traceback : null,
    children: childTree === null ? null : childTree.flatMap(idsOf),
    childTree,
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

/** Result tuples of Celery (wire section 6.5): `[[id, parent], null]` for a task, `[[id, parent], [tuple, …]]` for a group. */
function readChildren(tuples: readonly unknown[]): ResultChild[] {
  const children: ResultChild[] = [];
  for (const tuple of tuples) {
    const [head, members] = Array.isArray(tuple) ? (tuple as unknown[]) : [tuple, null];
    const id = textOrNull(Array.isArray(head) ? head[0] : head);
    if (id !== null) children.push(Array.isArray(members) ? { group: id, members: readChildren(members) } : id);
  }
  return children;
}

function idsOf(child: ResultChild): readonly string[] {
  return typeof child === 'string' ? [child] : child.members.flatMap(idsOf);
}

function childrenJson(children: readonly ResultChild[] | null): string {
  if (children === null) return 'null';
  return children.length === 0 ? '[]' : `[${children.map(childJson).join(',')}]`;
}

function childJson(child: ResultChild): string {
  return typeof child === 'string'
    ? `[[${quote(child)},null],null]`
    : `[[${quote(child.group)},null],${childrenJson(child.members)}]`;
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
