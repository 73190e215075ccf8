/**
 * Every error code of Lovage, with what it means in one line. Codes are stable: people search for them at night.
 *
 * `docs/reference/errors.md` has one entry per code; a test holds the table and the page to each other, both ways.
 */
export const ERROR_CODES = {
  // configuration and command line
  E_CONFIG_UNKNOWN_KEY: 'An options object has a key that does not exist.',
  E_CONFIG_TYPE: 'An option has a value of the wrong type.',
  E_CONFIG_RANGE: 'An option has a value outside its range, or a duration without a unit.',
  E_CONFIG_URL: 'A broker or result-store URL is malformed or has an unknown scheme.',
  E_CONFIG_CONFLICT: 'Two options contradict each other.',
  E_DRIVER_MISSING: 'An optional package that this URL or option needs is not installed.',
  E_APP_FILE: 'The app file could not be loaded, or exports no app.',
  E_HEALTH: 'The health server cannot listen on its address, or the heartbeat file cannot be written.',
  E_WORKER_UNREACHABLE: 'No worker answers: at this health address, or to this request.',
  E_TASK_NAME_TAKEN: 'Two tasks were defined under one name.',
  E_SCHEDULE: 'A schedule cannot be read: its crontab, its time zone, or what was imported from Celery.',
  E_SCHEDULE_NEVER: 'A schedule names a time that never comes.',
  E_SCHEDULE_MISSING: 'There is no schedule entry with this id.',
  E_SCHEDULE_TAKEN: 'There is a schedule entry with this id already, or the entry belongs to the code.',
  // arguments and serialisation
  E_ARGUMENTS: 'The arguments do not fit the task.',
  E_NOT_SERIALISABLE: 'A value cannot travel over the wire; the message names its path.',
  E_MESSAGE_TOO_LARGE: 'A message is larger than `maxMessageSize`.',
  // wire
  E_DECODE: 'Received bytes are not a message or value of the expected form.',
  E_CONTENT_REFUSED: 'The content type is not in the accept-list (pickle never is).',
  E_COMPRESSION: 'The compression is unknown, corrupt, or inflates beyond the limit.',
  // broker
  E_PUBLISH_FAILED: 'The broker refused or could not confirm a message; `outcome` says what is known.',
  E_PUBLISH_TIMEOUT: 'The total deadline of a send() passed; `outcome` says what is known.',
  E_DUPLICATE_SEND: 'A task with the same dedupe key was sent before, and its time window has not ended.',
  E_BROKER_UNREACHABLE: 'No connection to the broker could be made.',
  E_BROKER_AUTH: 'The broker or store refused the credentials.',
  E_CONNECTION_LOST: 'The connection to the broker or store was lost.',
  E_BROKER_FULL: 'The broker or disk has no room left; nothing was written.',
  E_KEY_TYPE: 'A key in Redis that this message needs holds something of another kind.',
  E_BROKER_CORRUPT: 'The embedded file is damaged, or was written by a newer version.',
  E_FILE_SYSTEM: 'The embedded broker was pointed at a file system that cannot lock (a network file system, for example).',
  E_NOT_SUPPORTED: 'This broker or store cannot do that; the message says why and what can.',
  E_QUEUE_MISSING: 'The queue does not exist on this broker.',
  E_MESSAGE_MISSING: 'No message of a task with this id waits in these queues.',
  E_DEAD_LETTER_MISSING: 'There is no dead letter with this id: it was replayed or removed, or it is on another broker.',
  E_DEAD_LETTERS_BUSY: 'Another process is looking through the dead letters of this RabbitMQ, which lends them to one at a time.',
  E_CLOSED: 'The app, broker, store or worker was used after close().',
  // results
  E_CHORD_NEEDS_STORE: 'A chord needs a result store that everybody can read, to count its parts.',
  E_RESULT_TIMEOUT: 'The result did not arrive within `timeout`. The task may still run.',
  E_TASK_FAILED: 'The task ended as FAILURE; `type`, `message` and `traceback` are those of the task.',
  E_TASK_REVOKED: 'The task was revoked or had expired.',
  E_RESULT_NOT_KEPT: 'There is no result to wait for: the task or call ignores results, or the store keeps none.',
  E_WAIT_INSIDE_TASK: 'A task tried to wait for the result of another task.',
  // running
  E_STEP_NEEDS_STORE: 'Steps of a task need a result store that the next try can read.',
  E_STEP_LIMIT: 'A task has too many steps, or a step gave too much.',
  E_NO_CHORD: 'A task that is no part of a chord asked to add a part to it.',
  E_STEP_BUSY: 'Two steps of one name were under way at once.',
  E_OUTPUT: 'What a task returned does not fit its output schema.',
  E_NOT_REGISTERED: 'No task of that name is registered on this worker.',
  E_MAX_RETRIES: 'The task failed and its retry policy is used up.',
  E_SOFT_TIME_LIMIT: 'The soft time limit of the task passed; its signal was aborted.',
  E_TIME_LIMIT: 'The hard time limit of the task passed.',
  E_WORKER_LOST: 'The worker or executor died while the task was running.',
  E_LEASE_LOST: 'This worker no longer holds the delivery; its late outcome was refused.',
  E_NO_CONTEXT: 'taskContext() was called outside a running task.',
  E_EXECUTOR_START: 'An executor (thread or child process) did not start.',
  E_UNCAUGHT: 'An exception, rejection or process.exit() that nobody caught reached the process that runs tasks.',
  E_EXECUTOR_STUCK: 'A task is inside a native call past its hard limit: the process had to end.',
  E_INTERNAL: 'A bug in Lovage. Please report it with the stack.',
} as const;

/** A stable error code; see `docs/reference/errors.md`. */
export type ErrorCode = keyof typeof ERROR_CODES;
