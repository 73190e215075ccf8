/**
 * A planned task as a message with its destination. Options of a signature mean what they mean to Celery's `apply_async`; times
 * begin when it is sent. Pure. Source: wire section 7.1.
 */
import { isoFromMs, parseIsoMs } from '../wire/iso-time.js';
import type { Destination, WireMessage } from '../wire/message.js';
import { RESENT_HEADER } from '../wire/own-headers.js';
import type { JsonMode } from '../wire/serializers/json.js';
import { parseSignatures, type SignatureOptions } from '../wire/signature.js';
import { encodeTaskMessage, PROTOCOL_HEADERS } from '../wire/task-message.js';
import type { PlannedTask } from './plan.js';

/** Where a task goes whose signature names no queue. */
export interface TaskRoute {
  readonly to: Destination;
  /** 0 to 9, higher = sooner. */
  readonly priority: number | undefined;
  /** Its worker may be of another make: see `OutgoingMessage`. */
  readonly anyWorker: boolean;
}

export interface OutgoingSettings {
  readonly nowMs: number;
  readonly json: JsonMode;
  readonly maxMessageBytes: number;
  /** Who sends, for people. */
  readonly origin: string;
  /** The task that sends it, whose workflow it belongs to; `null` outside a task. */
  readonly parent: { readonly id: string; readonly rootId: string } | null;
  /** It may have been sent before: a worker that finds its result final drops it. */
  readonly isRepeated: boolean;
  readonly routeOf: (task: string) => TaskRoute;
  /** A priority as it stands in a signature, in the broker's own sense, as ours (higher = sooner). */
  readonly priorityFromWire: (priority: number) => number;
}

/** What a broker takes; see `OutgoingMessage`. */
export interface CanvasMessage {
  readonly id: string;
  readonly task: string;
  readonly to: Destination;
  readonly message: WireMessage;
  readonly priority?: number;
  readonly notBeforeMs?: number;
  readonly anyWorker?: boolean;
}

/** @throws ArgumentError `E_NOT_SERIALISABLE`, `E_MESSAGE_TOO_LARGE`, `E_ARGUMENTS`; WireError `E_DECODE` */
export function outgoingOf({ signature, chain }: PlannedTask, settings: OutgoingSettings): CanvasMessage {
  const { task, args, kwargs, options } = signature;
  const { nowMs, parent } = settings;
  const id = options.task_id as string;
  const etaMs = typeof options.countdown === 'number' ? nowMs + options.countdown * 1_000 : timeMs(options.eta);
  const expiresMs = typeof options.expires === 'number' ? nowMs + options.expires * 1_000 : timeMs(options.expires);
  const stampedHeaders = Array.isArray(options.stamped_headers) ? (options.stamped_headers as string[]) : null;
  const message = encodeTaskMessage(
    {
      task,
      id,
      args,
      kwargs,
      chain,
      stampedHeaders,
      callbacks: listOf(options.link, 'link'),
      errbacks: listOf(options.link_error, 'link_error'),
      chord: options.chord ?? null,
      eta: etaMs === null ? null : isoFromMs(etaMs),
      expires: expiresMs === null ? null : isoFromMs(expiresMs),
      timeLimitMs: milliseconds(options.time_limit),
      softTimeLimitMs: milliseconds(options.soft_time_limit),
      rootId: parent?.rootId ?? id,
      parentId: parent?.id ?? null,
      groupId: options.group_id ?? null,
      groupIndex: options.group_index ?? null,
      shadow: options.shadow ?? null,
      ignoreResult: options.ignore_result === true,
      replyTo: options.reply_to ?? null,
      origin: settings.origin,
      headers: userHeadersOf(options, settings.isRepeated),
      stamps: stampedHeaders === null ? null : Object.fromEntries(stampedHeaders.map((name) => [name, options[name] ?? null])),
      replacedTaskNesting: typeof options.replaced_task_nesting === 'number' ? options.replaced_task_nesting : 0,
    },
    { nowMs, json: settings.json, maxMessageBytes: settings.maxMessageBytes },
  );
  const route = settings.routeOf(task);
  const priority = typeof options.priority === 'number' ? settings.priorityFromWire(options.priority) : route.priority;
  return {
    ...{ id, task, message },
    to: destinationIn(options) ?? route.to,
    ...(priority !== undefined && { priority }),
    ...(etaMs !== null && etaMs > nowMs && { notBeforeMs: etaMs, ...(route.anyWorker && { anyWorker: true }) }),
  };
}

function destinationIn({ queue, exchange, routing_key }: SignatureOptions): Destination | null {
  if (typeof queue === 'string') return { queue };
  if (typeof routing_key !== 'string') return null;
  return typeof exchange === 'string' && exchange !== ''
    ? { queue: routing_key, exchange, routingKey: routing_key }
    : { queue: routing_key };
}

function listOf(value: unknown, where: string): unknown[] | null {
  const signatures = parseSignatures(value, where);
  return signatures.length === 0 ? null : signatures;
}

/** Signatures come from anywhere, so names of the protocol among their headers are left out rather than refused. */
function userHeadersOf({ headers }: SignatureOptions, isRepeated: boolean): Record<string, unknown> | null {
  if (headers == null) return isRepeated ? { [RESENT_HEADER]: true } : null;
  const own = Object.entries(headers).filter(([name]) => !PROTOCOL_HEADERS.has(name) && name !== '__proto__');
  if (isRepeated) own.push([RESENT_HEADER, true]);
  return own.length === 0 ? null : Object.fromEntries(own);
}

const milliseconds = (seconds: number | null | undefined): number | null =>
  typeof seconds === 'number' ? seconds * 1_000 : null;

function timeMs(time: unknown): number | null {
  if (time instanceof Date) return time.getTime();
  return typeof time === 'string' ? parseIsoMs(time) : null;
}
