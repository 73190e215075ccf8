/**
 * Every key and channel that the Redis broker uses, in one place. Kombu's first (wire section 4.1), then ours.
 *
 * Ours: `lovage:delayed` (queues with waiting messages, by next due time), `lovage:delayed:<queue>` (the messages, by due
 * time), `lovage:delayed-tasks` (where each of them lies, by its task), `lovage:promoter` (there while a worker lives that brings
 * them back; expires), `lovage:losses:<message>` (see `losses.ts`) and `lovage:sent:<sender>` (both expire), `lovage:revoked` and
 * `lovage:revoked:version` (ids of revoked tasks, see `clients/redis-timed-set.ts`; both expire), `lovage:dead`,
 * `lovage:dead:facts` and `lovage:dead:index` (parked messages, kept until somebody decides), `lovage:inboxes:<exchange>` (who
 * waits for replies, see `inbox.ts`; expires), `lovage:pauses` (what people have paused, kept until they end it). Tags of ours
 * in `unacked` start with `lovage:`.
 */
import { ConfigError } from '../../core/errors.js';
import { PRIORITY_SEPARATOR } from '../../wire/redis-envelope.js';
import type { Binding } from '../broker.js';
import { declarationIn, type QueueTable } from '../queue-table.js';

/** The start of every delivery tag of ours; only such tags are taken over by us. */
export const TAG_PREFIX = 'lovage:';

export interface RedisKeys {
  /** Put before every key and channel. */
  readonly prefix: string;
  readonly unacked: string;
  readonly unackedIndex: string;
  readonly delayed: string;
  /** Where each delayed message lies, by its task's id. */
  readonly delayedTasks: string;
  /** There while a worker lives that looks after delayed messages; expires. */
  readonly promoter: string;
  /** Followed by the message's own delivery tag. */
  readonly losses: string;
  /** Followed by the key; each expires. */
  readonly dedupe: string;
  readonly dead: string;
  readonly deadFacts: string;
  readonly deadIndex: string;
  /** Ids of revoked tasks and the set's version; both expire. */
  readonly revoked: string;
  readonly revokedVersion: string;
  /** Followed by the exchange. */
  readonly inboxes: string;
  /** Prefix of the fanout channels: `/<db>.` */
  readonly channels: string;
  /** The channel on which a sender tells in how many milliseconds the next delayed message is due now. */
  readonly bell: string;
}

/** The fixed keys under a global prefix. */
export function redisKeys(prefix: string, db: number): RedisKeys {
  return {
    prefix,
    unacked: `${prefix}unacked`,
    unackedIndex: `${prefix}unacked_index`,
    delayed: `${prefix}lovage:delayed`,
    delayedTasks: `${prefix}lovage:delayed-tasks`,
    promoter: `${prefix}lovage:promoter`,
    losses: `${prefix}lovage:losses:`,
    dedupe: `${prefix}lovage:dedupe:`,
    dead: `${prefix}lovage:dead`,
    deadFacts: `${prefix}lovage:dead:facts`,
    deadIndex: `${prefix}lovage:dead:index`,
    revoked: `${prefix}lovage:revoked`,
    revokedVersion: `${prefix}lovage:revoked:version`,
    inboxes: `${prefix}lovage:inboxes:`,
    channels: `${prefix}/${db}.`,
    bell: `${prefix}/${db}.lovage.delayed`,
  };
}

/** Names that would fall among other keys of the database. */
const TAKEN = /^(?:unacked|unacked_index|unacked_mutex|_kombu\.binding\..*|lovage:.*|celery-task-meta-.*)$/;

/** @throws ConfigError `E_CONFIG_RANGE` for a name that cannot be kept apart from other keys */
export function checkQueueName(queue: string): void {
  if (queue === '' || queue.includes(PRIORITY_SEPARATOR) || TAKEN.test(queue)) {
    throw new ConfigError(
      'E_CONFIG_RANGE',
      `${JSON.stringify(queue)} cannot be a queue on Redis: it is empty, contains the bytes 06 16, or is the name of a key that Celery or Lovage uses itself`,
    );
  }
}

/** The queue that a list belongs to. */
export function queueOf(list: string): string {
  const at = list.indexOf(PRIORITY_SEPARATOR);
  return at < 0 ? list : list.slice(0, at);
}

/**
 * The binding that Celery writes for a queue: key and member. With a topic the member holds the pattern as a regular expression too,
 * by which kombu finds the queue: without it that queue would get everything.
 */
export function queueBinding(prefix: string, queue: string, table: QueueTable): [key: string, member: string] {
  const row = declarationIn(table, queue);
  if (row === null) return bindingOf(prefix, queue, queue, queue);
  return bindingOf(prefix, row.exchange, row.routingKey, queue, row.exchangeType === 'topic' ? kombuPattern(row.routingKey) : '');
}

/** Any binding, as it lies in Redis: key and member. */
export function bindingOf(
  prefix: string,
  exchange: string,
  routingKey: string,
  queue: string,
  pattern = '',
): [key: string, member: string] {
  return [bindingKey(prefix, exchange), [routingKey, pattern, queue].join(PRIORITY_SEPARATOR)];
}

/** The set of an exchange's bindings. */
export const bindingKey = (prefix: string, exchange: string): string => `${prefix}_kombu.binding.${exchange}`;

/** What a member of that set says; `null` for what is none. */
export function readBinding(member: string): Binding | null {
  const [routingKey, , queue] = member.split(PRIORITY_SEPARATOR);
  return routingKey === undefined || queue === undefined || queue === '' ? null : { queue, routingKey };
}

/** As kombu's `key_to_pattern` writes it. */
function kombuPattern(routingKey: string): string {
  const words = routingKey.split('.').map((word) => (word === '*' ? '.*?[^\\.]' : word === '#' ? '.*?' : word));
  return `^${words.join('\\.')}$`;
}
