/**
 * The queues that a message passes when its holder is gone: its claim queue, then the orphans of its source queue. Pure.
 * Why: docs/decisions/rabbitmq-claims.md.
 */
import { createHash, randomUUID } from 'node:crypto';
import type { Declaration } from './delay.js';

export type QueueDeclaration = Declaration & { readonly kind: 'queue' };

/** One that nobody uses any more is removed after this. Its messages leave after seconds, so it is empty then. */
const UNUSED_MS = 86_400_000;
export const CLAIM_QUEUES = 'lovage.claims.';
const LONGEST_NAME = 255;
/** How long an orphan waits for a worker of ours before everybody gets it, at the end of its source queue. */
const ORPHANED_MS = 15_000;

/** A new queue for claims of messages from `source`; what lies in it for `ttlMs` goes to `orphans`. */
export function claimQueue(source: string, ttlMs: number, orphans: string): QueueDeclaration {
  const prefix = `${CLAIM_QUEUES}${randomUUID().slice(0, 13)}.`;
  const name = Buffer.byteLength(prefix + source) > LONGEST_NAME ? `${prefix}long` : prefix + source;
  return wayStation(name, ttlMs, orphans);
}

/** The queue for what came back from claims of `source`: the same for every worker. A name that would be too long ends in a digest. */
export function orphanQueue(source: string): QueueDeclaration {
  const prefix = 'lovage.orphans.';
  const isLong = Buffer.byteLength(prefix + source) > LONGEST_NAME;
  return wayStation(prefix + (isLong ? createHash('sha256').update(source).digest('hex') : source), ORPHANED_MS, source);
}

/** What lies there for `ttlMs` goes on, also when a cluster has trouble: at-least-once dead lettering, which only quorum queues have. */
function wayStation(name: string, ttlMs: number, target: string): QueueDeclaration {
  return {
    kind: 'queue',
    name,
    arguments: {
      'x-queue-type': 'quorum',
      'x-message-ttl': ttlMs,
      'x-expires': UNUSED_MS,
      'x-dead-letter-exchange': '',
      'x-dead-letter-routing-key': target,
      'x-dead-letter-strategy': 'at-least-once',
      'x-overflow': 'reject-publish',
    },
  };
}
