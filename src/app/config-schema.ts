/**
 * Every option of `createApp` in one table: key, type, default, environment name, CLI flag and what it does. The table
 * drives validation, the environment, the CLI's flags and `docs/reference/config.md`. Next stop: `config.ts`.
 */
import { durationMs } from '../core/duration.js';
import { ConfigError } from '../core/errors.js';

/** One option. */
export interface ConfigEntry {
  readonly type:
    | 'string'
    | 'url'
    | 'duration'
    | 'duration | false'
    | 'bytes'
    | 'count'
    | 'choice'
    | 'boolean'
    | 'boolean | choice'
    | 'routes'
    | 'queues'
    | 'retry'
    | 'logger'
    | 'middleware';
  /** As people write it; `null`: see `doc`. */
  readonly default: string | number | boolean | null;
  /** Read when the option is not given in code. */
  readonly env: string | null;
  readonly flag: string | null;
  readonly choices?: readonly string[];
  readonly doc: string;
}

export const CONFIG_SCHEMA = {
  name: {
    type: 'string',
    default: 'lovage',
    env: null,
    flag: null,
    doc: 'Name of the app, for logs and monitors.',
  },
  broker: {
    type: 'url',
    default: 'file:./.lovage/queue.db',
    env: 'LOVAGE_BROKER_URL',
    flag: '--broker',
    doc: 'Where messages wait: `memory:`, `file:PATH`, `redis://`, `rediss://`, `sentinel://`, `redis+cluster://`, `amqp://` or `amqps://`.',
  },
  results: {
    type: 'url',
    default: null,
    env: 'LOVAGE_RESULT_URL',
    flag: '--results',
    doc: 'Where results are kept. Without it the store that fits the broker: the same URL, and `rpc:` for RabbitMQ. `postgresql:` goes with any broker.',
  },
  defaultQueue: {
    type: 'string',
    default: 'lovage',
    env: null,
    flag: null,
    doc: "Queue of tasks that name none. Not Celery's `celery`, so that a first worker takes no share of a Python estate's tasks unasked.",
  },
  routes: {
    type: 'routes',
    default: null,
    env: null,
    flag: null,
    doc: "Task name patterns (`*` stands for any characters) to `{ queue, priority }`, for example `{ 'reports.*': { queue: 'slow' } }`. The first that fits counts; a queue named at the call or the task comes before it. Also `exchange` and `routingKey`, see the guide on RabbitMQ.",
  },
  queues: {
    type: 'queues',
    default: null,
    env: null,
    flag: null,
    doc: "How queues are declared, by name: `{ media: { type: 'quorum', maxLength: 10_000 } }`. See the guide on RabbitMQ; other brokers warn of what they do not keep. `{ news: { broadcast: true } }` is a queue for every worker, see the guide on broadcast queues. Source: Celery's `task_queues`.",
  },
  defaultQueueType: {
    type: 'choice',
    choices: ['classic', 'quorum'],
    default: null,
    env: null,
    flag: null,
    doc: "On RabbitMQ: type of queues that name none; `queue_type` in the broker URL counts before it. Without it the broker's own default. Source: Celery's `task_default_queue_type`.",
  },
  resultTtl: {
    type: 'duration | false',
    default: '1d',
    env: null,
    flag: null,
    doc: "How long results are kept; `false` for ever. Source: Celery's `result_expires`.",
  },
  extendedResults: {
    type: 'boolean',
    default: false,
    env: null,
    flag: null,
    doc: "Whether workers note with each result the task's name, arguments, worker, queue and number of retries, for `lovage graph`, Flower and Celery's `AsyncResult`. Costs a second look at each message, and arguments become readable to whoever reads results. Not with `rpc:`. Source: Celery's `result_extended`.",
  },
  retry: {
    type: 'retry',
    default: null,
    env: null,
    flag: null,
    doc: "Retry policy of tasks that name none: `true`, or `{ max, backoff, base, cap, jitter, on, notOn }`; a task's own `retry` counts before it, `false` too. Without it a task's first failure is final.",
  },
  maxMessageSize: {
    type: 'bytes',
    default: 1_048_576,
    env: null,
    flag: null,
    doc: 'Largest message in bytes; `send()` refuses what is larger with `E_MESSAGE_TOO_LARGE`.',
  },
  json: {
    type: 'choice',
    choices: ['tagged', 'plain'],
    default: 'tagged',
    env: null,
    flag: null,
    doc: 'How values that JSON does not know are written: `tagged` keeps `Date` and bytes for TypeScript and Celery 5.3 or later, `plain` is what Celery 5.2 reads (dates become text, bytes are refused).',
  },
  sendTimeout: {
    type: 'duration',
    default: '5s',
    env: null,
    flag: null,
    doc: 'Total time that a `send()` may take, connecting and reconnecting included.',
  },
  maxPendingSends: {
    type: 'count',
    default: 100_000,
    env: null,
    flag: null,
    doc: 'How many sends may wait for the broker at once; more are refused at once with `E_PUBLISH_FAILED` instead of filling the memory.',
  },
  fileSync: {
    type: 'choice',
    choices: ['full', 'normal'],
    default: 'full',
    env: null,
    flag: null,
    doc: 'For `file:` brokers: `full` survives a power cut, `normal` is quicker and survives `kill -9` only.',
  },
  events: {
    type: 'boolean | choice',
    choices: ['on-demand'],
    default: 'on-demand',
    env: null,
    flag: '--events',
    doc: "When workers send events for monitors such as `lovage top` and Flower: `'on-demand'` only while somebody listens, `true` always (Celery's `worker_send_task_events`), `false` not unless they are asked to. See the guide on events.",
  },
  sendSentEvent: {
    type: 'boolean',
    default: false,
    env: null,
    flag: null,
    doc: "Whether clients tell of each task that they have sent, with the event `task-sent`. Source: Celery's `task_send_sent_event`.",
  },
  middleware: {
    type: 'middleware',
    default: null,
    env: null,
    flag: null,
    doc: 'Middleware in order, the first outermost. See the guide on tasks.',
  },
  logger: {
    type: 'logger',
    default: null,
    env: null,
    flag: null,
    doc: 'Any object with `debug`, `info`, `warn`, `error` and `child`. Without it: JSON lines, or readable ones on a terminal, to standard error.',
  },
} as const satisfies Record<string, ConfigEntry>;

/** Steps of single letters between two words; small words only, so the plain table is fine. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] as number) + (a[i - 1]?.toLowerCase() === b[j - 1]?.toLowerCase() ? 0 : 1);
      next.push(Math.min(change, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}

/** The nearest of `known`, if it is near enough to be meant. */
export function nearest(word: string, known: Iterable<string>): string | null {
  let best: string | null = null;
  let bestDistance = Math.min(3, Math.ceil(word.length / 2)) + 1;
  if (word.length > 64) return null;
  for (const candidate of known) {
    const steps = distance(word, candidate);
    if (steps < bestDistance) [best, bestDistance] = [candidate, steps];
  }
  return best;
}

/**
 * Refuses unknown keys, because a misspelt option that is silently ignored is found in production.
 * @param what for the message: `createApp()`, `with()`, …
 * @throws ConfigError `E_CONFIG_UNKNOWN_KEY`
 */
export function checkKeys(options: object, known: ReadonlySet<string>, what: string): void {
  for (const key in options) {
    if (known.has(key)) continue;
    const guess = nearest(key, known);
    throw new ConfigError(
      'E_CONFIG_UNKNOWN_KEY',
      `${what} has no option ${JSON.stringify(key)}${guess === null ? `; it has ${[...known].join(', ')}` : `: did you mean ${JSON.stringify(guess)}?`}`,
    );
  }
}

/** @throws ConfigError `E_CONFIG_TYPE` */
export function checkObject(value: unknown, what: string): asserts value is object {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return;
  throw new ConfigError(
    'E_CONFIG_TYPE',
    `${what} takes an object of options, not ${Array.isArray(value) ? 'an array' : value === null ? 'null' : `a ${typeof value}`}`,
  );
}

function wrongType(key: string, value: unknown, wanted: string): ConfigError {
  const shown =
    typeof value === 'string'
      ? JSON.stringify(value)
      : value === null
        ? 'null'
        : Array.isArray(value)
          ? 'an array'
          : `a ${typeof value}`;
  return new ConfigError('E_CONFIG_TYPE', `${key} is ${shown}: it must be ${wanted}`);
}

function wholeNumber(key: string, value: unknown): void {
  if (typeof value !== 'number') throw wrongType(key, value, 'a number');
  if (!Number.isSafeInteger(value) || value < 1)
    throw new ConfigError('E_CONFIG_RANGE', `${key} is ${value}: it must be a whole number from 1`);
}

/**
 * Checks one value against its entry.
 * @throws ConfigError `E_CONFIG_TYPE`, `E_CONFIG_RANGE`
 */
export function checkConfigValue(key: string, entry: ConfigEntry, value: unknown): void {
  switch (entry.type) {
    case 'string':
    case 'url':
      if (typeof value !== 'string') throw wrongType(key, value, 'a string');
      if (value === '') throw new ConfigError('E_CONFIG_RANGE', `${key} is an empty string: leave it out for the default`);
      return;
    case 'duration | false':
      if (value !== false) durationMs(value as string, key);
      return;
    case 'duration':
      durationMs(value as string, key);
      return;
    case 'bytes':
    case 'count':
      return wholeNumber(key, value);
    case 'choice':
      if (!entry.choices?.includes(value as string)) {
        throw new ConfigError(
          'E_CONFIG_RANGE',
          `${key} is ${JSON.stringify(value)}: use ${entry.choices?.map((choice) => `'${choice}'`).join(' or ')}`,
        );
      }
      return;
    case 'boolean':
      if (typeof value !== 'boolean') throw wrongType(key, value, 'true or false');
      return;
    case 'boolean | choice':
      if (typeof value !== 'boolean' && !entry.choices?.includes(value as string))
        throw wrongType(key, value, `true, false or ${entry.choices?.map((choice) => `'${choice}'`).join(' or ')}`);
      return;
    case 'routes':
      if (typeof value !== 'object' || value === null || Array.isArray(value))
        throw wrongType(key, value, "an object like { 'reports.*': { queue: 'slow' } }");
      return;
    case 'queues':
      // resolveQueues() checks the rest, with the name of each key.
      checkObject(value, key);
      return;
    case 'retry':
      // resolveRetry() checks the rest, with the name of each key.
      if (typeof value !== 'boolean') checkObject(value, key);
      return;
    case 'middleware':
      if (!Array.isArray(value)) throw wrongType(key, value, 'an array');
      return;
    case 'logger':
      for (const method of ['debug', 'info', 'warn', 'error', 'child']) {
        if (typeof (value as Record<string, unknown> | null)?.[method] !== 'function')
          throw wrongType(key, value, `an object with the method ${method}()`);
      }
  }
}
