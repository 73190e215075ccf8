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

/** The binding that Celery writes for a direct queue: key and member. */
export function bindingOf(prefix: string, exchange: string, routingKey: string, queue: string): [key: string, member: string] {
  return [`${prefix}_kombu.binding.${exchange}`, `${routingKey}${PRIORITY_SEPARATOR}${PRIORITY_SEPARATOR}${queue}`];
}
