/** Flags that several commands share, how they are read, and which broker they lead to. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { App } from '../app/app.js';
import { type AppConfig, resolveConfig } from '../app/config.js';
import type { Broker } from '../brokers/broker.js';
import { openBroker } from '../brokers/from-url.js';
import { type ByteSize, sizeBytes } from '../core/byte-size.js';
import { type Duration, durationMs } from '../core/duration.js';
import { createLogger } from '../core/log-output.js';
import type { Logger } from '../core/logger.js';
import { decodeJson } from '../wire/serializers/json.js';
import { loadAppFile } from '../worker/executor/load-app.js';
import { readConfigFile } from './config-file.js';

/** What `addConnectionOptions` adds, as commander gives it. */
export interface ConnectionFlags {
  readonly app?: string;
  readonly broker?: string;
  readonly results?: string;
  readonly timeout: Duration;
  readonly json?: boolean;
}

/** A whole number from `least`. */
export function wholeNumber(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value >= least) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${least}.`);
  };
}

/** A duration with its unit. */
export function duration(text: string): Duration {
  try {
    durationMs(text, 'it');
  } catch {
    throw new InvalidArgumentError("It must be a number with its unit, for example '250ms', '10s', '5m' or '2h'.");
  }
  return text as Duration;
}

/** A size with its unit. */
export function size(text: string): ByteSize {
  try {
    sizeBytes(text, 'it');
  } catch {
    throw new InvalidArgumentError("It must be a number with its unit, for example '300MiB' or '1GiB'.");
  }
  return text as ByteSize;
}

/** An id or the name of a queue, which nobody calls ''. */
export function named(text: string): string {
  if (text !== '' && Buffer.byteLength(text) <= 255) return text;
  throw new InvalidArgumentError('It must have 1 to 255 bytes.');
}

/** Several of them. */
export function allNamed(text: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), named(text)];
}

/** `10,3`: at most 10, at least 3. The order is Celery's. */
export function scale(text: string): { readonly max: number; readonly min: number } {
  const match = /^(\d{1,6})(?:,(\d{1,6}))?$/.exec(text.trim());
  if (!match) throw new InvalidArgumentError("It must be the most and the least, for example '10,3' (or '10' for 10 and 1).");
  return { max: Number(match[1]), min: Number(match[2] ?? 1) };
}

/** An instant, as ISO 8601 text with its offset. */
export function instant(text: string): Date {
  const value = new Date(text);
  if (Number.isNaN(value.getTime()) || !/T.*(Z|[+-]\d\d:?\d\d)$/i.test(text)) {
    throw new InvalidArgumentError(
      "It must be ISO 8601 with a zone, for example '2030-01-31T08:00:00Z' or '2030-01-31T09:00:00+01:00'.",
    );
  }
  return value;
}

function json(text: string, wanted: string): unknown {
  try {
    return decodeJson(text);
  } catch (error) {
    throw new InvalidArgumentError(`It must be ${wanted}: ${(error as Error).message}`);
  }
}

/** A JSON array, read without loss (`9007199254740993` stays what it is). */
export function jsonArray(text: string): readonly unknown[] {
  const wanted = `a JSON array, for example '[2,3]'`;
  const value = json(text, wanted);
  if (!Array.isArray(value)) throw new InvalidArgumentError(`It must be ${wanted}.`);
  return value;
}

/** A JSON object, read without loss. */
export function jsonObject(text: string): Readonly<Record<string, unknown>> {
  const wanted = `a JSON object, for example '{"invoiceId":"42"}'`;
  const value = json(text, wanted);
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype)
    throw new InvalidArgumentError(`It must be ${wanted}.`);
  return value as Readonly<Record<string, unknown>>;
}

export function appOption(): Option {
  return new Option('--app <file>', 'app file, for example ./tasks.ts, or ./tasks.ts:name for one of several exports').env(
    'LOVAGE_APP',
  );
}

export function addConnectionOptions(command: Command, needs: { readonly results: boolean }): Command {
  command
    .addOption(appOption())
    .option('--broker <url>', 'broker URL (else of the app file, else LOVAGE_BROKER_URL, else file:./.lovage/queue.db)');
  if (needs.results)
    command.option(
      '--results <url>',
      'result store URL (else of the app file, else LOVAGE_RESULT_URL, else what fits the broker)',
    );
  return command
    .addOption(new Option('--timeout <duration>', 'how long to try to reach the broker').argParser(duration).default('5s'))
    .option('--json', 'print JSON for machines');
}

/** The broker and store that the flags lead to, and the app if one was named. */
export interface Connection {
  readonly app: App | null;
  readonly config: AppConfig;
  readonly logger: Logger;
  readonly timeoutMs: number;
}

/**
 * Flag, else `lovage.config.ts`, else app file, else environment, else the default. An app file is loaded only when it
 * can matter: it is the user's code, and costs its start-up time.
 * @throws ConfigError `E_CONFIG_*`, `E_APP_FILE`
 */
export async function resolveConnection(
  flags: ConnectionFlags,
  needs: { readonly app: boolean } = { app: false },
): Promise<Connection> {
  const file = await readConfigFile();
  const broker = flags.broker ?? file.broker;
  const results = flags.results ?? file.results;
  const appFile = flags.app ?? file.app;
  const app = appFile !== undefined && (needs.app || broker === undefined) ? await loadAppFile(appFile) : null;
  const logger = createLogger({ level: flags.json ? 'silent' : 'error', format: 'human' });
  const config = resolveConfig(
    app === null
      ? { broker, results, logger }
      : {
          name: app.config.name,
          broker: broker ?? app.config.brokerUrl,
          // A store that the app took from its broker must follow a broker given here.
          results: results ?? (broker === undefined ? app.config.resultUrl : undefined),
          defaultQueue: app.config.defaultQueue,
          routes: app.config.routes,
          queues: app.config.declaredQueues,
          defaultQueueType: app.config.queues.defaultType ?? undefined,
          json: app.config.json,
          maxMessageSize: app.config.maxMessageSize,
          logger,
        },
  );
  return { app, config, logger, timeoutMs: durationMs(flags.timeout, '--timeout') };
}

/** Opens the broker, runs `use`, and closes it whatever happens. */
export async function withBroker<T>(connection: Connection, use: (broker: Broker) => Promise<T>): Promise<T> {
  const broker = await openBroker({
    url: connection.config.brokerUrl,
    queues: connection.config.queues,
    logger: connection.logger,
    role: 'client',
  });
  try {
    await broker.connect({ timeoutMs: connection.timeoutMs });
    return await use(broker);
  } finally {
    await broker.close();
  }
}
