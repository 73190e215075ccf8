/**
 * Celery's native delayed delivery (5.5 and later) as names, keys and declarations: pure, no connection.
 *
 * Level L holds a message for 2^L seconds; the 28 bits of the delay are the first words of the routing key, and each level
 * either holds a message (bit 1) or hands it down (bit 0). Whole seconds are all it can do, so a stage of ours in front of it
 * holds the remaining tenths of a short delay: without it a retry after 0.2 s would take a second.
 *
 * Handing down is what costs: each exchange compares the whole key, and from the top to the bottom that is 4 ms of the broker's
 * processor. So a message goes in at the highest level that holds it, and the stages lead to the lowest ones.
 */
import { createHash } from 'node:crypto';
import { parseIsoMs } from '../../wire/iso-time.js';
import type { WireMessage } from '../../wire/message.js';
import type { QueueArguments } from '../queue-table.js';
import type { ExchangeKind } from './topology.js';

/** Levels 0 to 27: up to 2^28 - 1 s, 8.5 years. Longer delays come back early and are deferred again by the worker. */
export const DELAY_LEVELS = 28;
/** Where Celery's ladder ends and worker queues are bound. */
export const DELIVERY_EXCHANGE = 'celery_delayed_delivery';
const LONGEST_S = 2 ** DELAY_LEVELS - 1;
const STEP_MS = 100;
/** Levels that the stages lead to; a longer delay has no stage, so it is late by less than a second. */
const STAGED_LEVELS = 3;
const STAGED_S = 2 ** STAGED_LEVELS;
/** 28 words of bits with their dots; a routing key has at most 255 bytes. */
export const LONGEST_WORD = 255 - 2 * DELAY_LEVELS;
const ANY_BITS = '*.'.repeat(DELAY_LEVELS);

/**
 * Levels hand on their messages one after the other: of many that were sent together the last leaves each level late,
 * and no level after it knows. So a message that itself says when it is due comes back early, by a share of its delay and within
 * bounds, and whoever gets it sends it on for the rest; of that nothing can go far wrong.
 */
const EARLY_FROM_MS = 5_000;
const EARLY_SHARE = 1 / 8;
const LEAST_EARLY_MS = 1_000;
const MOST_EARLY_MS = 16_000;

/** How much of a delay the ladder is asked for now; the whole of it, if nothing in the message keeps a worker from starting it early. */
export function legMs({ headers }: Pick<WireMessage, 'headers'>, untilMs: number, nowMs: number): number {
  const delayMs = untilMs - nowMs;
  // a part of a millisecond may have passed already
  const wholeMs = delayMs + 1;
  if (delayMs < EARLY_FROM_MS) return wholeMs;
  const { eta } = headers;
  if (typeof eta !== 'string' || (parseIsoMs(eta) ?? 0) < untilMs) return wholeMs;
  const earlyMs = Math.min(Math.max(delayMs * EARLY_SHARE, LEAST_EARLY_MS), MOST_EARLY_MS);
  // whole seconds: they need no stage in front
  return Math.floor((delayMs - earlyMs) / 1_000) * 1_000;
}

/** Where to publish so that a message comes to its queue after a delay. */
export interface DelayRoute {
  readonly exchange: string;
  readonly routingKey: string;
  /** The tenths of a second that the stage in front holds; `null` = there is none in front. */
  readonly stageMs: number | null;
}

// Not `lovage_delayed_`: so those were called that led to the top of the ladder, and a queue keeps its arguments.
const stageName = (stageMs: number): string => `lovage_delay_${stageMs}ms`;
const levelName = (level: number): string => `celery_delayed_${level}`;

/** What has to exist, in order. */
export type Declaration =
  | { readonly kind: 'exchange'; readonly name: string; readonly type: ExchangeKind }
  | { readonly kind: 'queue'; readonly name: string; readonly arguments: QueueArguments }
  | {
      readonly kind: 'bind-queue';
      readonly queue: string;
      readonly exchange: string;
      readonly key: string;
      readonly arguments?: QueueArguments | undefined;
    }
  | { readonly kind: 'bind-exchange'; readonly to: string; readonly from: string; readonly key: string };

/**
 * The queue's part of the delayed routing key. The name itself wherever that is unambiguous; a digest for names that would be
 * wildcards in a topic pattern or do not fit.
 */
export function delayWord(queue: string): string {
  const wild = queue.includes('*') || queue.includes('#');
  return wild || Buffer.byteLength(queue) > LONGEST_WORD ? digestWord(queue) : queue;
}

/** A word that no pattern of people's fits. */
export function digestWord(queue: string): string {
  return `lovage-${createHash('sha256').update(queue).digest('hex').slice(0, 40)}`;
}

/** The pattern that binds a queue: exactly 28 bits before its name. Celery's `#.name` would give queue `b` what is meant for `a.b`. */
export const delayBinding = (queue: string, word = delayWord(queue)): string => ANY_BITS + word;

/** The 28 bits of a number of seconds, most significant first, joined by dots. */
export function delayBits(seconds: number): string {
  return seconds.toString(2).padStart(DELAY_LEVELS, '0').split('').join('.');
}

/** The route for a delay; rounded up, to a tenth of a second below eight seconds and to a second from there on, so that nothing is ever early. */
export function delayRoute(delayMs: number, queue: string, word = delayWord(queue)): DelayRoute {
  const tenths = Math.ceil(delayMs / STEP_MS);
  const staged = tenths < STAGED_S * 10;
  const seconds = Math.min(staged ? Math.floor(tenths / 10) : Math.ceil(delayMs / 1_000), LONGEST_S);
  const routingKey = `${delayBits(seconds)}.${word}`;
  const stageMs = staged ? (tenths % 10) * STEP_MS : 0;
  return stageMs === 0
    ? { exchange: levelName(Math.floor(Math.log2(seconds))), routingKey, stageMs: null }
    : { exchange: stageName(stageMs), routingKey, stageMs };
}

function holding(ttlMs: number, next: string): QueueArguments {
  return {
    'x-queue-type': 'quorum',
    'x-overflow': 'reject-publish',
    'x-message-ttl': ttlMs,
    'x-dead-letter-exchange': next,
    'x-dead-letter-strategy': 'at-least-once',
  };
}

/** Celery's ladder, equal to what a Celery 5.5 worker declares. From the end to the start, so that no message falls through. */
export function ladder(): readonly Declaration[] {
  const parts: Declaration[] = [{ kind: 'exchange', name: DELIVERY_EXCHANGE, type: 'topic' }];
  for (let level = 0; level < DELAY_LEVELS; level += 1) {
    const name = levelName(level);
    const next = level === 0 ? DELIVERY_EXCHANGE : levelName(level - 1);
    const stars = '*.'.repeat(DELAY_LEVELS - 1 - level);
    parts.push(
      { kind: 'exchange', name, type: 'topic' },
      { kind: 'queue', name, arguments: holding(2 ** level * 1_000, next) },
      { kind: 'bind-queue', queue: name, exchange: name, key: `${stars}1.#` },
      { kind: 'bind-exchange', to: next, from: name, key: `${stars}0.#` },
    );
  }
  return parts;
}

/** Our stages for the parts of a second: every key goes through one, unchanged, to the lowest levels. */
export function stages(): readonly Declaration[] {
  const parts: Declaration[] = [];
  for (let stageMs = STEP_MS; stageMs < 1_000; stageMs += STEP_MS) {
    const name = stageName(stageMs);
    parts.push(
      { kind: 'exchange', name, type: 'fanout' },
      { kind: 'queue', name, arguments: holding(stageMs, levelName(STAGED_LEVELS - 1)) },
      { kind: 'bind-queue', queue: name, exchange: name, key: '' },
    );
  }
  return parts;
}

/** The queue that is declared last. */
export const LAST_STAGE = stageName(1_000 - STEP_MS);
