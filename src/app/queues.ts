/**
 * The `queues` of an app: what people write of a queue, checked and turned into what the broker is told, equal to what Celery makes
 * of the same options (wire section 5.1). Pure. Next stop: `brokers/queue-table.ts`.
 */
import type { QueueArguments, QueueDeclaration, QueueExchangeType, QueueTable, QueueType } from '../brokers/queue-table.js';
import { type ByteSize, sizeBytes } from '../core/byte-size.js';
import { type Duration, durationMs } from '../core/duration.js';
import { ConfigError } from '../core/errors.js';
import { checkKeys, checkObject, nearest } from './config-schema.js';

/** How one queue is declared. Without any option: as a queue that is not in the table. */
export interface QueueOptions {
  /**
   * Each worker that consumes this queue runs each task that is sent to it, on every broker: Celery's `Broadcast`. At most once: a
   * worker that does not listen at that moment misses it. Of the other options only `exchange` and `routingKey` go with it.
   * @defaultValue false
   * @remarks Source: kombu's `Broadcast(name)`.
   */
  readonly broadcast?: boolean;
  /** Exchange that the queue is bound to. @defaultValue the queue's name @remarks Source: kombu's `Queue(exchange)`. */
  readonly exchange?: string;
  /** Type of that exchange. @defaultValue `'direct'` @remarks Source: kombu's `Exchange(type)`. */
  readonly exchangeType?: QueueExchangeType;
  /** What binds the queue to its exchange; for `topic` with `*` (one word) and `#` (any). @defaultValue the queue's name, and with `broadcast` `'celery'`, Python's `task_default_routing_key` @remarks Source: kombu's `Queue(routing_key)`. */
  readonly routingKey?: string;
  /**
   * Headers by which a `headers` exchange finds the queue, with `'x-match': 'all' | 'any'`. RabbitMQ only.
   * @remarks Source: kombu's `Queue(binding_arguments)`.
   */
  readonly bindingArguments?: QueueArguments;
  /** @defaultValue `defaultQueueType` @remarks Source: `x-queue-type`. */
  readonly type?: QueueType;
  /** Priorities up to this are honoured, 1 to 255; more than 10 costs memory. Classic queues only. @remarks Source: kombu's `Queue(max_priority)`. */
  readonly maxPriority?: number;
  /** Messages that waited for longer are dropped by the broker, and their tasks stay PENDING: prefer `expires` at the task. @remarks Source: kombu's `Queue(message_ttl)`. */
  readonly messageTtl?: Duration;
  /** A queue that nobody uses for so long is removed with what is in it. @remarks Source: kombu's `Queue(expires)`. */
  readonly expires?: Duration;
  /** How many messages may wait; see `overflow`. @remarks Source: kombu's `Queue(max_length)`. */
  readonly maxLength?: number;
  /** How many bytes of bodies may wait; see `overflow`. @remarks Source: kombu's `Queue(max_length_bytes)`. */
  readonly maxLengthBytes?: ByteSize;
  /** A full queue: `'drop-head'` loses the oldest, `'reject-publish'` fails the send. @defaultValue the broker's, `'drop-head'` @remarks Source: `x-overflow`. */
  readonly overflow?: 'drop-head' | 'reject-publish' | 'reject-publish-dlx';
  /** Where the broker puts what it drops; `''` is the default exchange. @remarks Source: `x-dead-letter-exchange`. */
  readonly deadLetterExchange?: string;
  /** Under which key. @defaultValue the message's own @remarks Source: `x-dead-letter-routing-key`. */
  readonly deadLetterRoutingKey?: string;
  /** Arguments that have no option here, as they are. @remarks Source: kombu's `Queue(queue_arguments)`. */
  readonly arguments?: QueueArguments;
}

/** Names of queues to how they are declared. */
export type Queues = Readonly<Record<string, QueueOptions>>;

/** Option → argument and its value. */
const ARGUMENTS = {
  type: ['x-queue-type', oneOf('classic', 'quorum')],
  maxPriority: ['x-max-priority', wholeNumber(1, 255)],
  messageTtl: ['x-message-ttl', milliseconds(0)],
  expires: ['x-expires', milliseconds(1)],
  maxLength: ['x-max-length', wholeNumber(0, Number.MAX_SAFE_INTEGER)],
  maxLengthBytes: ['x-max-length-bytes', (value: unknown, name: string) => sizeBytes(value as string, name)],
  overflow: ['x-overflow', oneOf('drop-head', 'reject-publish', 'reject-publish-dlx')],
  deadLetterExchange: ['x-dead-letter-exchange', shortText(0)],
  deadLetterRoutingKey: ['x-dead-letter-routing-key', shortText(0)],
} as const satisfies Partial<Record<keyof QueueOptions, readonly [string, Read]>>;

type Read = (value: unknown, name: string) => string | number;

const QUEUE_KEYS: ReadonlySet<string> = new Set([
  'broadcast',
  'exchange',
  'exchangeType',
  'routingKey',
  'bindingArguments',
  ...Object.keys(ARGUMENTS),
  'arguments',
]);
const EXCHANGE_TYPES = oneOf('direct', 'topic', 'fanout', 'headers');
/** What a broadcast queue may say of itself: all else is about messages that wait at the broker. */
const BROADCAST_KEYS: ReadonlySet<string> = new Set(['broadcast', 'exchange', 'routingKey']);
/** Python's workers listen under it on Redis, where a fanout has channels by routing key. */
const BROADCAST_ROUTING_KEY = 'celery';
/** Milliseconds that RabbitMQ takes, some 49 days. */
const LONGEST_MS = 2 ** 32 - 1;

/**
 * @throws ConfigError `E_CONFIG_UNKNOWN_KEY`, `E_CONFIG_TYPE`, `E_CONFIG_RANGE`, `E_CONFIG_CONFLICT`
 */
export function resolveQueues(queues: Queues, defaultType: QueueType | null): QueueTable {
  checkObject(queues, 'queues');
  const rows: Record<string, QueueDeclaration> = {};
  const types = new Map<string, string>();
  for (const [name, options] of Object.entries(queues)) {
    const what = `queues[${JSON.stringify(name)}]`;
    shortText(1)(name, 'the name of a queue');
    const row = declaration(name, options, what);
    const { exchange, exchangeType } = row;
    const type = types.get(exchange) ?? exchangeType;
    if (type !== exchangeType)
      throw conflict(`${what}: exchange ${exchange} is ${type} for another queue, and cannot be ${exchangeType} too`);
    types.set(exchange, type);
    if (!row.broadcast) checkType(row.arguments, defaultType, what);
    // A name may be `__proto__`.
    Object.defineProperty(rows, name, { value: row, enumerable: true });
  }
  return { queues: rows, defaultType };
}

function declaration(name: string, options: QueueOptions, what: string): QueueDeclaration {
  checkObject(options, what);
  checkKeys(options, QUEUE_KEYS, what);
  const { broadcast = false } = options;
  if (typeof broadcast !== 'boolean') throw new ConfigError('E_CONFIG_TYPE', `${what}.broadcast must be true or false`);
  const extra = broadcast ? Object.keys(options).find((key) => !BROADCAST_KEYS.has(key)) : undefined;
  if (extra !== undefined)
    throw conflict(`${what}: a broadcast queue has no ${extra}: nothing waits in it at the broker, each worker has its own copy`);
  const { exchange = name, exchangeType = broadcast ? 'fanout' : 'direct' } = options;
  const { routingKey = broadcast ? BROADCAST_ROUTING_KEY : name } = options;
  shortText(1)(exchange, `${what}.exchange`);
  EXCHANGE_TYPES(exchangeType, `${what}.exchangeType`);
  shortText(0)(routingKey, `${what}.routingKey`);
  const given = plainArguments(options.arguments ?? {}, `${what}.arguments`);
  for (const [option, [argument, read]] of Object.entries(ARGUMENTS)) {
    const value = options[option as keyof typeof ARGUMENTS];
    if (value === undefined) continue;
    if (Object.hasOwn(given, argument))
      throw conflict(`${what} says ${option} and arguments[${JSON.stringify(argument)}]: leave one out`);
    given[argument] = read(value, `${what}.${option}`);
  }
  if (Object.hasOwn(given, 'x-dead-letter-routing-key') && !Object.hasOwn(given, 'x-dead-letter-exchange'))
    throw conflict(`${what} has a deadLetterRoutingKey and no deadLetterExchange: name one, '' for the default exchange`);
  const bindingArguments = options.bindingArguments && plainArguments(options.bindingArguments, `${what}.bindingArguments`);
  if ((bindingArguments !== undefined) !== (exchangeType === 'headers'))
    throw conflict(`${what}: bindingArguments and exchangeType 'headers' belong together: give both or neither`);
  const row = { exchange, exchangeType, routingKey, arguments: given };
  return { ...row, ...(bindingArguments && { bindingArguments }), ...(broadcast && { broadcast }) };
}

/** What RabbitMQ would refuse, or take and not do. */
function checkType(given: QueueArguments, defaultType: QueueType | null, what: string): void {
  const named = given['x-queue-type'];
  if (named !== undefined) oneOf('classic', 'quorum')(named, `${what}: x-queue-type`);
  if ((named ?? defaultType) !== 'quorum') return;
  const hint = named === undefined ? " (by defaultQueueType: name type: 'classic' here)" : '';
  if (given['x-max-priority'] !== undefined) throw conflict(`${what}: a quorum queue${hint} knows no maxPriority`);
  if (given['x-overflow'] === 'reject-publish-dlx')
    throw conflict(`${what}: a quorum queue${hint} knows no overflow 'reject-publish-dlx': use 'reject-publish' or 'drop-head'`);
}

function plainArguments(value: unknown, what: string): Record<string, string | number | boolean> {
  checkObject(value, what);
  const given: Record<string, string | number | boolean> = {};
  for (const [key, each] of Object.entries(value)) {
    shortText(1)(key, `a key of ${what}`);
    const fits = typeof each === 'string' || typeof each === 'boolean' || Number.isSafeInteger(each);
    if (!fits)
      throw new ConfigError('E_CONFIG_TYPE', `${what}[${JSON.stringify(key)}] must be text, a whole number, true or false`);
    given[key] = each;
  }
  return given;
}

function conflict(message: string): ConfigError {
  return new ConfigError('E_CONFIG_CONFLICT', message);
}

/** AMQP has one byte for the length of a name. */
function shortText(min: 0 | 1): (value: unknown, name: string) => string {
  return (value, name) => {
    if (typeof value === 'string' && value.length >= min && Buffer.byteLength(value) <= 255) return value;
    throw new ConfigError('E_CONFIG_RANGE', `${name} is ${JSON.stringify(value)}: it must be text of ${min} to 255 bytes`);
  };
}

function oneOf(...choices: readonly string[]): (value: unknown, name: string) => string {
  return (value, name) => {
    if (choices.includes(value as string)) return value as string;
    const guess = typeof value === 'string' ? nearest(value, choices) : null;
    const hint = guess === null ? `use ${choices.map((choice) => `'${choice}'`).join(' or ')}` : `did you mean '${guess}'?`;
    throw new ConfigError('E_CONFIG_RANGE', `${name} is ${JSON.stringify(value)}: ${hint}`);
  };
}

function wholeNumber(min: number, max: number): (value: unknown, name: string) => number {
  return (value, name) => {
    if (Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max) return value as number;
    throw new ConfigError(
      'E_CONFIG_RANGE',
      `${name} is ${JSON.stringify(value)}: it must be a whole number from ${min} to ${max}`,
    );
  };
}

function milliseconds(min: number): (value: unknown, name: string) => number {
  return (value, name) => {
    const ms = Math.round(durationMs(value as string, name));
    if (ms >= min && ms <= LONGEST_MS) return ms;
    throw new ConfigError('E_CONFIG_RANGE', `${name} is ${JSON.stringify(value)}: it must be ${min} ms to 49 days`);
  };
}
