/**
 * The events of a Celery cluster that Lovage sends or reads: each type with its own fields, in words. Held to
 * `docs/reference/events.md` by a test, both ways. Who makes them: `worker/engine/reporting/task-events.ts`, `events/dispatcher.ts`, `app/events/sent-events.ts`.
 */

/** What every event has. */
export const COMMON_EVENT_FIELDS = {
  type: 'What happened.',
  hostname: 'Node name of the sender.',
  timestamp: 'Seconds since 1970 with fraction, by the clock of the sender.',
  clock: 'Logical clock of the sender: orders events of several senders.',
  utcoffset: 'Hours west of UTC at the sender. `timestamp` needs no correction by it.',
  pid: 'Process id of the sender.',
} as const;

const HEALTH = {
  freq: 'Seconds until the next heartbeat: 2 while somebody listens, else 30.',
  active: 'Tasks that run or wait for a slot.',
  processed: 'Runs that have ended here since the start.',
  loadavg: "The machine's load over 1, 5 and 15 minutes.",
  sw_ident: '`lovage`; `py-celery` from Python.',
  sw_ver: 'Version of that software.',
  sw_sys: 'Operating system.',
  dropped_events:
    'How many events this worker has thrown away because they could not be sent in time. Absent while it is none; Lovage only.',
} as const;

const CALL = {
  uuid: 'Id of the task.',
  name: 'Name of the task, or its display name (`shadow`).',
  args: "Positional arguments as the sender wrote them for people (Celery's `argsrepr`), cut.",
  kwargs: 'Keyword arguments in the same way.',
  root_id: 'Id of the first task of its workflow.',
  parent_id: 'Id of the task that sent it, or `null`.',
  retries: 'How many times it was tried before.',
  eta: 'ISO time before which it must not run, or `null`.',
  expires: 'ISO time after which it must not run, or `null`.',
} as const;

const UUID = { uuid: CALL.uuid } as const;
const ERROR = {
  exception: "The error as text, cut: `ValueError('no such user')`.",
  traceback: 'Its stack, the middle left out when it is long.',
} as const;

/** A type that Lovage and Celery send themselves. There are others: whatever a Python task gives to `send_event`. */
export type EventType =
  | 'worker-online'
  | 'worker-heartbeat'
  | 'worker-offline'
  | 'task-sent'
  | 'task-received'
  | 'task-started'
  | 'task-succeeded'
  | 'task-failed'
  | 'task-retried'
  | 'task-revoked'
  | 'task-rejected'
  | 'task-cancelled';

/** What is to be known of a type of event. */
export interface EventTypeEntry {
  /** When it is sent. */
  readonly sent: string;
  /** Its own fields, beside those of every event, with what they are. */
  readonly fields: Readonly<Record<string, string>>;
}

/** Every type of event that Lovage sends or expects. */
export const EVENT_TYPES = {
  'worker-online': { sent: 'A worker has started.', fields: HEALTH },
  'worker-heartbeat': { sent: 'A worker lives: every `freq` seconds, and when it is asked.', fields: HEALTH },
  'worker-offline': {
    sent: 'A worker stops. One that is killed does not say so: it is gone when its heartbeats are.',
    fields: HEALTH,
  },
  'task-sent': {
    sent: 'A client has sent a task and the broker has it: only with `sendSentEvent` (Celery: `task_send_sent_event`).',
    fields: {
      ...CALL,
      queue: 'Queue it was sent to.',
      exchange: "Exchange; `''` is the default one.",
      routing_key: 'Routing key.',
    },
  },
  'task-received': { sent: 'A worker has taken a task that it will run.', fields: CALL },
  'task-started': { sent: 'It runs.', fields: UUID },
  'task-succeeded': {
    sent: 'It has returned, and its result is stored.',
    fields: { ...UUID, result: 'What it returned, as text, cut.', runtime: 'Seconds that it ran.' },
  },
  'task-failed': { sent: 'It has failed for good, or could not be run at all.', fields: { ...UUID, ...ERROR } },
  'task-retried': { sent: 'It has failed and will be tried again.', fields: { ...UUID, ...ERROR } },
  'task-revoked': {
    sent: 'It was withdrawn before it ran, ended while it ran, or had expired.',
    fields: {
      ...UUID,
      terminated: 'Whether it was ended while it ran.',
      signum: 'The number of the signal it was told to end with (15 is TERM), or `null`.',
      expired: 'Whether it had expired.',
    },
  },
  'task-rejected': {
    sent: 'It threw `Reject`.',
    fields: { ...UUID, requeue: 'Whether it went back to its queue.' },
  },
  'task-cancelled': {
    sent: 'Its worker no longer holds it (the connection or the lease was lost): another one runs it. From Celery 5.5 on, and Lovage.',
    fields: UUID,
  },
} as const satisfies Readonly<Record<EventType, EventTypeEntry>>;
