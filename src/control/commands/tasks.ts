/** What a worker is doing: `active`, `reserved`, `scheduled`, `query_task`; and what it can do: `registered`. */
import { isoFromMs } from '../../wire/iso-time.js';
import type { CommandArgs, ControlCommand } from '../command.js';
import { CommandError, isTruthy, Listing, textsOf } from '../command.js';
import { moreTasks, requestInfo } from '../request-info.js';
import type { HeldTask, TaskInfo, WorkerPort } from '../worker-port.js';

/** Ids in one question. */
const MOST_IDS = 10_000;
/** kombu's priority of a timer; there is no other. */
const TIMER_PRIORITY = 6;
/** Attributes that `registered` shows, unless others are asked for. */
const SHOWN_ATTRIBUTES = ['exchange', 'routing_key', 'rate_limit'];

export const taskCommands: readonly ControlCommand[] = [
  {
    name: 'active',
    alias: 'dump_active',
    parameters: ['safe?'],
    open: true,
    run: ({ safe }, { port }) => listTasks(port, port.active(), isTruthy(safe)),
  },
  {
    name: 'reserved',
    alias: 'dump_reserved',
    open: true,
    run: (_args, { port }) => listTasks(port, port.reserved(), false),
  },
  {
    name: 'scheduled',
    alias: 'dump_schedule',
    open: true,
    run: (_args, { port }) =>
      Listing.of(
        port.scheduled(),
        ({ etaMs, task }) => scheduled(isoFromMs(etaMs), requestInfo(task, port.nodeName, false)),
        (count) => scheduled(null, moreTasks(count, port.nodeName)),
      ),
  },
  { name: 'query_task', parameters: ['ids'], open: true, run: (args, { port }) => queryTasks(args, port) },
  {
    name: 'registered',
    alias: 'dump_tasks',
    parameters: ['taskinfoitems?', 'builtins?'],
    open: true,
    run({ taskinfoitems, builtins }, { port }) {
      const given = textsOf(taskinfoitems);
      const shown = [...port.tasks()].filter(({ name }) => isTruthy(builtins) || !name.startsWith('celery.'));
      const names = shown.sort((a, b) => (a.name < b.name ? -1 : 1));
      return Listing.of(
        names,
        (task) => describe(task, given.length > 0 ? given : SHOWN_ATTRIBUTES),
        (count) => `(${count} more, left out of this answer)`,
      );
    },
  },
];

function listTasks(port: WorkerPort, tasks: Iterable<HeldTask>, safe: boolean): Listing {
  return Listing.of(
    tasks,
    (task) => requestInfo(task, port.nodeName, safe),
    (count) => moreTasks(count, port.nodeName),
  );
}

const scheduled = (eta: string | null, request: object): object => ({ eta, priority: TIMER_PRIORITY, request });

/** Ids that are not held here are left out. */
function queryTasks(args: CommandArgs, port: WorkerPort): object {
  const wanted = new Set(textsOf(args.ids));
  if (wanted.size > MOST_IDS)
    throw new CommandError('ValueError', `${wanted.size} ids in one question: ask for ${MOST_IDS} at most`);
  const found: Record<string, readonly [state: string, info: object]> = {};
  const look = (state: string, tasks: Iterable<HeldTask>): void => {
    for (const task of tasks)
      if (wanted.has(task.headers.id)) found[task.headers.id] = [state, requestInfo(task, port.nodeName, false)];
  };
  look('reserved', port.reserved());
  look('active', port.active());
  return found;
}

/** `name`, or `name [attribute=value …]` as Python would print them. */
function describe(task: TaskInfo, attributes: readonly string[]): string {
  const shown = attributes.flatMap((attribute) => {
    const value = ATTRIBUTES[attribute]?.(task) ?? null;
    return value === null ? [] : [`${attribute}=${value}`];
  });
  return shown.length === 0 ? task.name : `${task.name} [${shown.join(' ')}]`;
}

const flag = (value: boolean): string => (value ? 'True' : 'False');
const seconds = (ms: number | null): string | null => (ms === null ? null : String(ms / 1_000));

/** Celery's names of what we know of a task. */
const ATTRIBUTES: Readonly<Record<string, (task: TaskInfo) => string | null>> = {
  name: ({ name }) => name,
  rate_limit: ({ rateLimit }) => rateLimit,
  time_limit: ({ timeLimitMs }) => seconds(timeLimitMs),
  soft_time_limit: ({ softTimeLimitMs }) => seconds(softTimeLimitMs),
  acks_late: ({ ack }) => flag(ack === 'late'),
  ignore_result: ({ ignoreResult }) => flag(ignoreResult),
  track_started: ({ trackStarted }) => flag(trackStarted),
};
