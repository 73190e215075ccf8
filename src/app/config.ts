/** The options of an app, checked and with every default filled in. Inner code never repeats a default. */

import type { QueueTable, QueueType } from '../brokers/queue-table.js';
import { type Duration, durationMs } from '../core/duration.js';
import { ConfigError } from '../core/errors.js';
import { createLogger } from '../core/log-output.js';
import type { Logger } from '../core/logger.js';
import { defaultResultUrl } from '../results/from-url.js';
import { CONFIG_SCHEMA, type ConfigEntry, checkConfigValue, checkKeys, checkObject } from './config-schema.js';
import type { ResolvedRetryPolicy } from './definition.js';
import { type EventMode, eventMode } from './events/event-mode.js';
import { type Middleware, type ResolvedMiddleware, resolveMiddleware } from './middleware.js';
import { type Queues, resolveQueues } from './queues.js';
import { type RetryOptions, resolveRetry } from './retry-policy.js';
import { checkQueueName, createRouter, type Router, type Routes } from './router.js';

/** The options of `createApp`; see `docs/reference/config.md`. `undefined` counts as not given. */
export interface AppOptions {
  /** Name of the app, for logs and monitors. @defaultValue `'lovage'` */
  readonly name?: string | undefined;
  /** Broker URL. @defaultValue `LOVAGE_BROKER_URL`, else `'file:./.lovage/queue.db'` */
  readonly broker?: string | undefined;
  /** Result store URL. @defaultValue `LOVAGE_RESULT_URL`, else the store that fits the broker */
  readonly results?: string | undefined;
  /** Queue of tasks that name none. @defaultValue `'lovage'` */
  readonly defaultQueue?: string | undefined;
  /** Task name patterns to queues; the first that fits counts. */
  readonly routes?: Routes | undefined;
  /** How queues are declared, by name. @defaultValue by their names alone @remarks Source: Celery setting `task_queues`. */
  readonly queues?: Queues | undefined;
  /** On RabbitMQ: type of queues that name none. @defaultValue the broker's own @remarks Source: Celery setting `task_default_queue_type`. */
  readonly defaultQueueType?: QueueType | undefined;
  /** How long results are kept; `false` for ever. @defaultValue `'1d'` @remarks Source: Celery setting `result_expires`. */
  readonly resultTtl?: Duration | false | undefined;
  /**
   * Whether workers note with each result the task's name, arguments, worker, queue and number of retries.
   * @defaultValue false
   * @remarks Source: Celery setting `result_extended`.
   */
  readonly extendedResults?: boolean | undefined;
  /** Retry policy of tasks that name none. @defaultValue none: the first failure is final */
  readonly retry?: boolean | RetryOptions | undefined;
  /** Largest message in bytes. @defaultValue 1 MiB */
  readonly maxMessageSize?: number | undefined;
  /** `'plain'` writes what Celery 5.2 reads. @defaultValue `'tagged'` */
  readonly json?: 'tagged' | 'plain' | undefined;
  /** Total time that a `send()` may take. @defaultValue `'5s'` */
  readonly sendTimeout?: Duration | undefined;
  /** How many sends may wait for the broker at once. @defaultValue 100,000 */
  readonly maxPendingSends?: number | undefined;
  /** For `file:` brokers: `'normal'` survives `kill -9` but not a power cut. @defaultValue `'full'` */
  readonly fileSync?: 'full' | 'normal' | undefined;
  /** When workers send events for monitors. @defaultValue `'on-demand'`: while somebody listens @remarks Source: Celery setting `worker_send_task_events`. */
  readonly events?: boolean | 'on-demand' | undefined;
  /** Whether clients send `task-sent` for each task. @defaultValue false @remarks Source: Celery setting `task_send_sent_event`. */
  readonly sendSentEvent?: boolean | undefined;
  /** Middleware in order, the first outermost. */
  readonly middleware?: readonly Middleware[] | undefined;
  readonly logger?: Logger | undefined;
}

/** Resolved options. */
export interface AppConfig {
  readonly name: string;
  readonly brokerUrl: string;
  readonly resultUrl: string;
  readonly defaultQueue: string;
  readonly routes: Routes;
  readonly router: Router;
  /** As they were given. */
  readonly declaredQueues: Queues;
  /** As the broker is told. */
  readonly queues: QueueTable;
  /** `null`: for ever. */
  readonly resultTtlMs: number | null;
  readonly extendedResults: boolean;
  /** Of tasks that name none; `null`: the first failure is final. */
  readonly retry: ResolvedRetryPolicy | null;
  readonly maxMessageSize: number;
  readonly json: 'tagged' | 'plain';
  readonly sendTimeoutMs: number;
  readonly maxPendingSends: number;
  readonly events: EventMode;
  readonly sendSentEvent: boolean;
  readonly middleware: ResolvedMiddleware;
  readonly logger: Logger;
}

const KNOWN: ReadonlySet<string> = new Set(Object.keys(CONFIG_SCHEMA));

/** `fileSync` travels in the URL, because that is all a driver gets. */
function withFileSync(url: string, sync: 'full' | 'normal'): string {
  if (sync === 'full' || !/^file:/i.test(url) || /[?&]sync=/.test(url)) return url;
  return `${url}${url.includes('?') ? '&' : '?'}sync=${sync}`;
}

/** A URL without a scheme is found here, where the option's name is known; the driver checks the rest. */
function checkUrl(url: string, key: string): string {
  if (/^[a-z][a-z0-9+.-]*:/i.test(url)) return url;
  throw new ConfigError(
    'E_CONFIG_URL',
    `${key} is ${JSON.stringify(url)}: a URL starts with its scheme, for example file:./queue.db, redis://localhost:6379/0 or amqp://localhost`,
  );
}

/**
 * Option, else environment, else default.
 * @throws ConfigError `E_CONFIG_*`
 */
export function resolveConfig(options: AppOptions, env: Readonly<Record<string, string | undefined>> = process.env): AppConfig {
  checkObject(options, 'createApp()');
  checkKeys(options, KNOWN, 'createApp()');
  const value = <T>(key: keyof typeof CONFIG_SCHEMA): T => {
    const entry: ConfigEntry = CONFIG_SCHEMA[key];
    const given: unknown = options[key];
    if (given !== undefined) {
      checkConfigValue(key, entry, given);
      return given as T;
    }
    // An empty variable is how shells and compose files say "not set".
    return ((entry.env !== null && env[entry.env]) || entry.default) as T;
  };
  const sync = value<'full' | 'normal'>('fileSync');
  const brokerUrl = withFileSync(checkUrl(value('broker'), 'broker'), sync);
  const resultUrl = value<string | null>('results');
  const resultTtl = value<Duration | false>('resultTtl');
  const routes = value<Routes | null>('routes') ?? {};
  const defaultQueue = value<string>('defaultQueue');
  checkQueueName(defaultQueue, 'defaultQueue');
  const declaredQueues = value<Queues | null>('queues') ?? {};
  const table = resolveQueues(declaredQueues, value<QueueType | null>('defaultQueueType'));
  const router = createRouter(routes, table);
  const sendTimeoutMs = durationMs(value('sendTimeout'), 'sendTimeout');
  if (sendTimeoutMs <= 0) throw new ConfigError('E_CONFIG_RANGE', 'sendTimeout is 0: a send needs some time');
  let logger = value<Logger | null>('logger');
  return Object.freeze({
    name: value<string>('name'),
    brokerUrl,
    resultUrl:
      resultUrl === null
        ? defaultResultUrl(brokerUrl)
        : withFileSync(resolveRpc(checkUrl(resultUrl, 'results'), brokerUrl), sync),
    defaultQueue,
    routes,
    router,
    declaredQueues,
    queues: table,
    resultTtlMs: resultTtl === false ? null : durationMs(resultTtl, 'resultTtl'),
    extendedResults: value<boolean>('extendedResults'),
    retry: resolveRetry(value<boolean | RetryOptions | null>('retry') ?? undefined),
    maxMessageSize: value<number>('maxMessageSize'),
    json: value<'tagged' | 'plain'>('json'),
    sendTimeoutMs,
    maxPendingSends: value<number>('maxPendingSends'),
    events: eventMode(value('events'), 'events'),
    sendSentEvent: value<boolean>('sendSentEvent'),
    middleware: resolveMiddleware(value<readonly Middleware[] | null>('middleware') ?? []),
    get logger(): Logger {
      // Made at the first line: an app that logs nothing opens nothing.
      logger ??= createLogger();
      return logger;
    },
  });
}

/** `rpc:` alone means: over the broker. */
function resolveRpc(url: string, brokerUrl: string): string {
  return /^rpc:(\/\/)?$/i.test(url) ? `rpc:${brokerUrl}` : url;
}
