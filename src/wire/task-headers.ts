/**
 * The headers of protocol 2 as the engine wants them: typed, checked, and read without touching the body (wire section
 * 2.1). Called once for every message, so it builds one object and parses times only where there are any.
 */
import { WireError } from '../core/errors.js';
import { parseIsoMs } from './iso-time.js';
import type { WireMessage } from './message.js';

/** What a worker knows of a task before it decodes the body. */
export interface TaskHeaders {
  readonly task: string;
  readonly id: string;
  /** Display name; `null` = use `task`. */
  readonly shadow: string | null;
  /** Wall time before which it must not run. */
  readonly etaMs: number | null;
  /** Wall time after which it must not run. */
  readonly expiresMs: number | null;
  readonly groupId: string | null;
  readonly groupIndex: number | null;
  /** How many times it was retried. */
  readonly retries: number;
  readonly timeLimitMs: number | null;
  readonly softTimeLimitMs: number | null;
  /** The first task of the workflow; the task itself if the header is missing. */
  readonly rootId: string;
  readonly parentId: string | null;
  readonly ignoreResult: boolean;
  readonly replyTo: string | null;
  readonly correlationId: string | null;
  readonly origin: string | null;
  readonly argsrepr: string;
  readonly kwargsrepr: string;
  readonly replacedTaskNesting: number;
  readonly stampedHeaders: readonly string[] | null;
  readonly stamps: Readonly<Record<string, unknown>>;
}

/** Headers that Celery, a broker or this package own. Everything else belongs to the user. */
export const PROTOCOL_HEADERS: ReadonlySet<string> = new Set(
  `lang task id shadow eta expires group group_index retries timelimit root_id parent_id argsrepr kwargsrepr origin ignore_result
  replaced_task_nesting stamped_headers stamps compression redelivered headers`.split(/\s+/),
);

/** Headers by which our senders and workers tell each other something; no task sees them. */
const OWN_PREFIX = 'lovage_';

/** Ids and names become keys, log fields and routing keys; longer ones are nobody's. */
const LONGEST_NAME = 1024;
const NO_STAMPS: Readonly<Record<string, unknown>> = Object.freeze({});

/**
 * The typed headers, or `null` when there is no `task` header: then it may be protocol 1 (see `upgradeProtocol1`).
 * @throws WireError `E_DECODE` for what kills or stops a Python worker: no id, an eta or expires that is no time, …
 */
export function readTaskHeaders(message: WireMessage): TaskHeaders | null {
  const { headers, properties } = message;
  const task = headers.task;
  if (task === undefined) return null;
  if (typeof task !== 'string' || task === '' || task.length > LONGEST_NAME) throw bad('task', task, 'a task name');
  const id = headers.id;
  if (typeof id !== 'string' || id === '' || id.length > LONGEST_NAME) throw bad('id', id, 'a task id');
  const timelimit = headers.timelimit;
  const limits = Array.isArray(timelimit) ? (timelimit as unknown[]) : null;
  const stamped = headers.stamped_headers;
  const stamps = headers.stamps;
  return {
    task,
    id,
    shadow: textOrNull(headers.shadow),
    etaMs: headers.eta == null ? null : timeOf('eta', headers.eta),
    expiresMs: headers.expires == null ? null : timeOf('expires', headers.expires),
    groupId: textOrNull(headers.group),
    groupIndex: typeof headers.group_index === 'number' ? headers.group_index : null,
    retries: headers.retries === 0 ? 0 : countOf('retries', headers.retries),
    timeLimitMs: limits === null ? null : secondsToMs(limits[0]),
    softTimeLimitMs: limits === null ? null : secondsToMs(limits[1]),
    rootId: textOrNull(headers.root_id) ?? id,
    parentId: textOrNull(headers.parent_id),
    ignoreResult: headers.ignore_result === true,
    replyTo: properties.reply_to === undefined || properties.reply_to === '' ? null : properties.reply_to,
    correlationId: properties.correlation_id ?? null,
    origin: textOrNull(headers.origin),
    argsrepr: typeof headers.argsrepr === 'string' ? headers.argsrepr : '()',
    kwargsrepr: typeof headers.kwargsrepr === 'string' ? headers.kwargsrepr : '{}',
    replacedTaskNesting: typeof headers.replaced_task_nesting === 'number' ? headers.replaced_task_nesting : 0,
    stampedHeaders: Array.isArray(stamped) ? (stamped as unknown[]).filter((name) => typeof name === 'string') : null,
    stamps:
      typeof stamps === 'object' && stamps !== null && !Array.isArray(stamps) ? (stamps as Record<string, unknown>) : NO_STAMPS,
  };
}

/** Headers that the user gave: all that are not the protocol's, nor the marks a broker leaves (`x-death`, …). */
export function userHeaders(headers: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const own: Record<string, unknown> = {};
  for (const name in headers) {
    if (!PROTOCOL_HEADERS.has(name) && !isBrokerMark(name) && !name.startsWith(OWN_PREFIX) && name !== '__proto__')
      own[name] = headers[name];
  }
  return own;
}

/** Headers that RabbitMQ adds on the way; they must not travel on with a retry. */
export function isBrokerMark(name: string): boolean {
  return (
    name.startsWith('x-') &&
    (name === 'x-death' ||
      name === 'x-delivery-count' ||
      name === 'x-acquired-count' ||
      name.startsWith('x-first-death-') ||
      name.startsWith('x-last-death-'))
  );
}

function textOrNull(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}

function timeOf(name: string, value: unknown): number {
  const ms = typeof value === 'string' ? parseIsoMs(value) : null;
  if (ms === null) throw bad(name, value, 'a time in ISO 8601 form');
  return ms;
}

function countOf(name: string, value: unknown): number {
  if (value === undefined || value === null) return 0;
  const count = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  if (typeof count !== 'number' || !Number.isSafeInteger(count) || count < 0) throw bad(name, value, 'a count');
  return count;
}

function secondsToMs(value: unknown): number | null {
  const seconds = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  return typeof seconds === 'number' && Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : null;
}

function bad(name: string, value: unknown, wanted: string): WireError {
  const shown =
    value === undefined
      ? 'missing'
      : typeof value === 'string'
        ? JSON.stringify(value.slice(0, 80))
        : value === null
          ? 'null'
          : `a ${typeof value}`;
  return new WireError('E_DECODE', `the header ${name} is ${shown}, not ${wanted}`);
}
