/**
 * A held task as `active`, `reserved` and `query_task` show it (wire section 8.4). Arguments are decoded for this alone, so a
 * large body is shown by the text that its sender wrote for people, and so is one with secrets in it.
 */
import { decodeTaskBody } from '../wire/task-message.js';
import type { HeldTask } from './worker-port.js';

/** Bodies beyond it are not decoded. */
const LARGEST_SHOWN = 16 * 1_024;
/** What a sender writes in place of an argument that must not be shown. */
const REDACTED = "'***'";

/** @param safe show texts and no values */
export function requestInfo(task: HeldTask, hostname: string, safe: boolean): object {
  const { headers, message, queue, redelivered, acknowledged, startedAtMs, pid } = task;
  const { args, kwargs } = argumentsOf(task, safe);
  return {
    id: headers.id,
    name: headers.shadow ?? headers.task,
    args,
    kwargs,
    type: headers.task,
    hostname,
    time_start: startedAtMs === null ? null : startedAtMs / 1_000,
    acknowledged,
    delivery_info: { exchange: '', routing_key: queue, priority: message.properties.priority ?? 0, redelivered },
    worker_pid: startedAtMs === null ? null : pid,
  };
}

/** An entry of the same form for people: not all fitted into the answer. */
export function moreTasks(count: number, hostname: string): object {
  return {
    id: '',
    name: `(${count} more, left out of this answer)`,
    args: [],
    kwargs: {},
    type: '',
    hostname,
    time_start: null,
    acknowledged: false,
    delivery_info: { exchange: '', routing_key: '', priority: 0, redelivered: false },
    worker_pid: null,
  };
}

function argumentsOf({ headers, message }: HeldTask, safe: boolean): { args: unknown; kwargs: unknown } {
  const { argsrepr, kwargsrepr } = headers;
  const isSecret = argsrepr.includes(REDACTED) || kwargsrepr.includes(REDACTED);
  if (!safe && !isSecret && message.body.data.length <= LARGEST_SHOWN) {
    try {
      const { args, kwargs } = decodeTaskBody(message);
      return { args, kwargs };
    } catch {
      // A body that nobody here can read: it fails or is parked when its turn comes.
    }
  }
  return { args: argsrepr, kwargs: kwargsrepr };
}
