/**
 * Asking workers: a request to all, an inbox for their replies, and when to stop waiting. The client's half of Celery's
 * pidbox (wire section 8); the worker's is `mailbox.ts`. Knows no command: `client.ts` does. Next stop for lists: `pages.ts`.
 *
 * Stops as soon as all have answered that could: the broker says how many heard the request, or (RabbitMQ) those who were
 * heard within the last minute have answered. Bounded: `MOST_ANSWERS`, and what an inbox holds.
 */
import { randomUUID } from 'node:crypto';
import type { ControlAnswers, ControlOptions } from '../app/control/control-types.js';
import type { ControlQuestion } from '../app/gateway.js';
import type { Broker } from '../brokers/broker.js';
import type { Logger } from '../core/logger.js';
import {
  type ControlRequest,
  decodeControlReply,
  encodeControlRequest,
  isAddressedTo,
  replyExchange,
} from '../wire/control-message.js';
import type { WireMessage } from '../wire/message.js';
import type { JsonMode } from '../wire/serializers/json.js';
import type { KnownNodes } from './known-nodes.js';
import type { LamportClock } from './lamport-clock.js';

/** Answers of more nodes are not kept, and said to be incomplete. */
export const MOST_ANSWERS = 10_000;
/** Who is not known yet may answer a little later than those who are. */
const STRANGERS_MS = 100;

/** A question without those who wait for answers. */
type Request = Omit<ControlQuestion, 'timeoutMs' | 'limit'>;

/** Answers, and where the rest of lists begins that did not fit. */
export interface Asked<T = unknown> extends ControlAnswers<T> {
  readonly next: ReadonlyMap<string, number>;
}

/** How the asker follows and ends it. */
export type AskHooks = Pick<ControlOptions, 'signal' | 'onAnswer'>;

/** What asking is done with. */
export interface Asker {
  readonly broker: Broker;
  readonly clock: LamportClock;
  readonly known: KnownNodes;
  readonly logger: Logger;
  readonly json: JsonMode;
  readonly turns: Turns;
}

/** Each question has an inbox, which is a connection on Redis: so many at once, the others wait for their turn. */
const MOST_AT_ONCE = 8;

/** Lets a few do something at a time, in the order of their coming. */
export class Turns {
  #free = MOST_AT_ONCE;
  /** One entry a caller that waits. */
  readonly #waiting: (() => void)[] = [];

  async take(): Promise<void> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  give(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free += 1;
  }
}

/** Sends a request for which nobody answers. Resolves with how many heard it, as far as the broker can tell. */
export function tell({ broker, clock, json }: Asker, question: Request): Promise<number | null> {
  const { exchange, routingKey, message } = encodeControlRequest({ ...requestOf(question), clock: clock.tick() }, { json });
  return broker.broadcast({ exchange, routingKey, message });
}

/** @throws BrokerError `E_BROKER_UNREACHABLE`; ArgumentError `E_NOT_SERIALISABLE`; the signal's reason */
export async function ask<T>(asker: Asker, question: ControlQuestion, hooks: AskHooks = {}): Promise<Asked<T>> {
  await asker.turns.take();
  try {
    hooks.signal?.throwIfAborted();
    return await askNow<T>(asker, question, hooks);
  } finally {
    asker.turns.give();
  }
}

async function askNow<T>(asker: Asker, question: ControlQuestion, hooks: AskHooks): Promise<Asked<T>> {
  const { broker, clock, json } = asker;
  const ticket = randomUUID();
  const waiting = new Waiting(asker, question, ticket, hooks.onAnswer);
  const inbox = await broker.openInbox(replyExchange(), (reply) => waiting.hear(reply));
  try {
    const { exchange, routingKey, message } = encodeControlRequest(
      {
        ...requestOf(question),
        ticket,
        replyTo: inbox.address,
        clock: clock.tick(),
        expires: (Date.now() + question.timeoutMs) / 1_000,
      },
      { json },
    );
    waiting.heardBy(await broker.broadcast({ exchange, routingKey, message }));
    return (await waiting.done(hooks.signal)) as Asked<T>;
  } finally {
    await inbox.close();
  }
}

function requestOf({ method, args, destination, pattern, matcher }: Request) {
  return { method, arguments: args, destination, pattern, matcher };
}

/** One question under way. */
class Waiting {
  readonly #asker: Asker;
  readonly #question: ControlQuestion;
  readonly #ticket: string;
  readonly #onAnswer: AskHooks['onAnswer'];
  /** Before the request went out: its first replies must not pass for all that will come. */
  readonly #knownBefore: ReadonlySet<string>;
  readonly #answers = new Map<string, unknown>();
  readonly #errors = new Map<string, string>();
  readonly #duplicates = new Set<string>();
  readonly #next = new Map<string, number>();
  #replies = 0;
  #lastReplyMs = performance.now();
  /** `undefined`: the request is still on its way. */
  #listeners: number | null | undefined;
  /** Names whose answers are awaited; `null` = unknown, only a number or the timeout ends it. */
  #names: ReadonlySet<string> | null = null;
  #strangers: NodeJS.Timeout | undefined;
  #finish: (() => void) | null = null;

  constructor(asker: Asker, question: ControlQuestion, ticket: string, onAnswer: AskHooks['onAnswer']) {
    this.#onAnswer = onAnswer;
    this.#asker = asker;
    this.#question = question;
    this.#ticket = ticket;
    this.#knownBefore = asker.known.fresh();
  }

  heardBy(listeners: number | null): void {
    this.#listeners = listeners;
    this.#lastReplyMs = performance.now();
    const { destination, pattern, matcher } = this.#question;
    const fresh = this.#knownBefore;
    const isMeant = (node: string): boolean => isAddressedTo({ destination, pattern, matcher } as ControlRequest, node);
    if (destination !== null && destination.length > 0) this.#names = new Set(destination);
    // A number of listeners tells which they are only if all of them have been heard of.
    else if (listeners === null ? fresh.size > 0 : fresh.size >= listeners) this.#names = new Set([...fresh].filter(isMeant));
  }

  hear(message: WireMessage): void {
    const { clock, known, logger } = this.#asker;
    try {
      const reply = decodeControlReply(message);
      if (reply.ticket !== this.#ticket) return;
      clock.adjust(reply.clock);
      this.#replies += 1;
      this.#lastReplyMs = performance.now();
      for (const [node, value] of reply.answers) {
        known.hear(node);
        this.#keep(node, value);
        if (reply.next !== null) this.#next.set(node, reply.next);
        this.#onAnswer?.(node);
      }
    } catch (error) {
      logger.warn({ err: error }, 'a reply to a control request could not be read');
    }
    this.#check();
  }

  /** Resolves when all have answered, or the time is over. */
  done(signal: AbortSignal | undefined): Promise<Asked> {
    return new Promise((resolve, reject) => {
      const end = (): void => {
        clearTimeout(timer);
        clearTimeout(this.#strangers);
        signal?.removeEventListener('abort', onAbort);
        this.#finish = null;
      };
      const onAbort = (): void => {
        end();
        reject(signal?.reason as Error);
      };
      this.#finish = () => {
        end();
        resolve(this.#result());
      };
      const timer = setTimeout(this.#finish, this.#question.timeoutMs);
      if (signal?.aborted) return onAbort();
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#check();
    });
  }

  #keep(node: string, value: unknown): void {
    if (this.#answers.has(node) || this.#errors.has(node)) this.#duplicates.add(node);
    else if (this.#answers.size + this.#errors.size >= MOST_ANSWERS) return;
    this.#answers.delete(node);
    this.#errors.delete(node);
    const error = errorIn(value);
    if (error === null) this.#answers.set(node, value);
    else this.#errors.set(node, error);
  }

  #check(): void {
    if (this.#finish === null) return;
    const { limit } = this.#question;
    if ((limit !== null && this.#replies >= limit) || this.#isCounted()) return this.#finish();
    if (!this.#isComplete()) return;
    // Only names say so, and somebody may have come up meanwhile whom nobody has heard yet.
    clearTimeout(this.#strangers);
    const leftMs = Math.max(0, this.#lastReplyMs + STRANGERS_MS - performance.now());
    this.#strangers = setTimeout(this.#finish, leftMs);
  }

  /** As certain as can be: as many replies as listeners, or all that were named. */
  #isCounted(): boolean {
    const listeners = this.#listeners;
    if (listeners === undefined) return false;
    if (listeners !== null && this.#replies >= listeners) return true;
    const { destination } = this.#question;
    return destination !== null && destination.length > 0 && this.#haveAnswered(destination);
  }

  #isComplete(): boolean {
    return this.#isCounted() || (this.#listeners !== undefined && this.#names !== null && this.#haveAnswered(this.#names));
  }

  #haveAnswered(names: Iterable<string>): boolean {
    for (const name of names) if (!this.#answers.has(name) && !this.#errors.has(name)) return false;
    return true;
  }

  #result(): Asked {
    const complete = this.#isComplete() && this.#answers.size + this.#errors.size < MOST_ANSWERS;
    // Who kept silent is not awaited the next time.
    if (!complete && this.#names !== null && this.#question.limit === null) {
      const silent = [...this.#names].filter((name) => !this.#answers.has(name) && !this.#errors.has(name));
      this.#asker.known.forget(silent);
    }
    return {
      answers: this.#answers,
      errors: this.#errors,
      heardBy: this.#listeners ?? null,
      complete,
      duplicates: [...this.#duplicates],
      next: this.#next,
    };
  }
}

/** Celery's form of an error: an object with nothing but that. */
function errorIn(value: unknown): string | null {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null;
  const keys = Object.keys(value);
  const { error } = value as { readonly error?: unknown };
  return keys.length === 1 && typeof error === 'string' ? error : null;
}
