/**
 * Publishing of messages with dedupe keys: key and message in one script, so that nobody ever sees one without the other.
 * All others go through `publish.ts`, which is quicker; what is repeated here after a lost answer finds its own key. One with a
 * time goes where `publish.ts` would put it.
 *
 * Bounded: what waits is what callers wait for, at most `MOST_WAITING` messages, each until its deadline.
 */
import { setMaxListeners } from 'node:events';
import { RedisLinkError } from '../../clients/redis.js';
import { sleep } from '../../core/clock.js';
import type { ErrorCode } from '../../core/error-codes.js';
import { codeOf, type PublishError, toError } from '../../core/errors.js';
import type { OutgoingMessage, PublishOptions, PublishResult } from '../broker.js';
import { duplicateOf, idOf } from '../duplicate.js';
import { RedisBindings } from './bindings.js';
import type { RedisLinks } from './connection.js';
import { notSent, publishError, refusalOf, unknownBecause } from './outbox.js';
import { isDelayed, place } from './place.js';
import { delayedHead, delayedTask } from './scripts/delayed-member.js';
import { type PushOnce, pushOnce } from './scripts/push-once.js';

/** Messages in one script, and about so much of their text: longer ones would keep other clients waiting. */
const STEP_MESSAGES = 128;
const STEP_LENGTH = 256 * 1_024;
const MOST_WAITING = 20_000;
/** A key that ends in less than this is no proof any more that its message was never sent. */
const MARGIN_MS = 500;
/** How long one WAIT may keep its connection. */
const WAIT_MS = '500';
const PAUSE_MS = 10;

/** Messages of one call, on their way together. */
interface Step {
  readonly pushes: PushOnce[];
  readonly positions: number[];
  length: number;
}

export class RedisOncePublisher {
  readonly #links: RedisLinks;
  readonly #bindings: RedisBindings;
  /** One a call under way; each ends with its deadline. */
  readonly #calls = new Set<AbortController>();
  #waiting = 0;

  constructor(links: RedisLinks) {
    this.#links = links;
    this.#bindings = new RedisBindings(links);
    links.onSendingUp(() => this.#bindings.renew());
  }

  /** As `Broker.publish`, for messages that all have a dedupe key. */
  async publish(messages: readonly OutgoingMessage[], options: PublishOptions): Promise<readonly PublishResult[]> {
    const { signal, timeoutMs } = options;
    if (signal?.aborted)
      return messages.map((message) =>
        notSent('E_PUBLISH_FAILED', 'the send was aborted before anything was sent', message, signal.reason),
      );
    if (this.#waiting + messages.length > MOST_WAITING)
      return messages.map((message) =>
        notSent(
          'E_BROKER_FULL',
          `${this.#waiting} messages with dedupe keys wait for ${this.#links.target.label} already`,
          message,
        ),
      );
    this.#waiting += messages.length;
    const call = new AbortController();
    setMaxListeners(0, call.signal);
    this.#calls.add(call);
    const onAbort = (): void => call.abort(new End('E_PUBLISH_FAILED', 'the send was aborted', signal?.reason));
    signal?.addEventListener('abort', onAbort, { once: true });
    const timer = setTimeout(
      () => call.abort(new End('E_PUBLISH_TIMEOUT', this.#whyLate(), this.#links.sending.lastError)),
      timeoutMs,
    );
    try {
      const results: PublishResult[] = new Array<PublishResult>(messages.length).fill(null);
      const steps = this.#steps(messages, results);
      await Promise.all(steps.map((step) => this.#carryOut(step, messages, results, call.signal)));
      return results;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      this.#calls.delete(call);
      this.#waiting -= messages.length;
    }
  }

  /** Fails whatever waits; called when the broker closes. */
  close(): void {
    for (const call of this.#calls) call.abort(new End('E_CLOSED', 'the broker was closed before the message was confirmed'));
  }

  #steps(messages: readonly OutgoingMessage[], results: PublishResult[]): Step[] {
    const { prefix } = this.#links.keys;
    const steps: Step[] = [];
    for (const [position, outgoing] of messages.entries()) {
      const { dedupe } = outgoing;
      if (dedupe === undefined) throw new TypeError('publish-once.ts takes messages with dedupe keys');
      let step = steps.at(-1);
      if (!step || step.pushes.length >= STEP_MESSAGES || step.length >= STEP_LENGTH) {
        step = { pushes: [], positions: [], length: 0 };
        steps.push(step);
      }
      try {
        const { list, envelope, deliveryTag } = place(outgoing, this.#bindings);
        const key = `${this.#links.keys.dedupe}${dedupe.key}`;
        const { to, notBeforeMs = 0 } = outgoing;
        const head = isDelayed(outgoing) ? delayedHead(deliveryTag, list, delayedTask(outgoing.message.headers)) : null;
        step.pushes.push({
          ...{ key, list: prefix + list, envelope, id: idOf(outgoing), ttlMs: dedupe.ttlMs, queue: to.queue },
          delayed: head === null ? null : { dueMs: notBeforeMs, head },
        });
        step.positions.push(position);
        step.length += envelope.length;
      } catch (error) {
        results[position] = notSent('E_PUBLISH_FAILED', toError(error).message, outgoing, error);
      }
    }
    return steps;
  }

  /** Tries until Redis has answered, or `end`. */
  async #carryOut(step: Step, messages: readonly OutgoingMessage[], results: PublishResult[], end: AbortSignal): Promise<void> {
    if (step.pushes.length === 0) return;
    const { sending, target } = this.#links;
    const tell = (result: (position: number, at: number) => PublishResult): void => {
      for (const [at, position] of step.positions.entries()) results[position] = result(position, at);
    };
    /** When it may have been carried out for the first time. */
    let writtenMs: number | null = null;
    const shortestMs = Math.min(...step.pushes.map(({ ttlMs }) => ttlMs));
    try {
      for (;;) {
        await sending.whenReady(Infinity, end);
        if (writtenMs !== null && performance.now() - writtenMs > shortestMs - MARGIN_MS)
          throw new Expired('the connection was lost for longer than the dedupe key holds');
        this.#bindings.write();
        const askedMs = performance.now();
        try {
          const answers = await orEnd(pushOnce(sending, this.#links.keys, step.pushes), end, () => {
            writtenMs ??= askedMs;
          });
          writtenMs ??= askedMs;
          if (target.waitReplicas > 0 && answers.includes(null)) await this.#replicate(end);
          tell((position, at) => {
            const answer = answers[at] ?? null;
            const outgoing = messages[position] as OutgoingMessage;
            if (answer === null) return null;
            return answer instanceof Error ? this.#failure(answer, false, outgoing) : duplicateOf(outgoing, answer.holder);
          });
          return;
        } catch (error) {
          if (!(error instanceof RedisLinkError)) throw error;
          if (error.sent) writtenMs ??= askedMs;
          await sleep(PAUSE_MS, end);
        }
      }
    } catch (error) {
      tell((position) => this.#failure(error, writtenMs !== null, messages[position] as OutgoingMessage));
    }
  }

  /** Until enough replicas have it. */
  async #replicate(end: AbortSignal): Promise<void> {
    const { sending, target } = this.#links;
    for (let had = 0; had < target.waitReplicas; ) {
      end.throwIfAborted();
      had = (await orEnd(sending.call('wait', [String(target.waitReplicas), WAIT_MS]), end, () => {})) as number;
    }
  }

  #failure(error: unknown, isWritten: boolean, outgoing: OutgoingMessage): PublishError {
    if (error instanceof End)
      return publishError(error.code, isWritten ? 'unknown' : 'not-sent', error.message, outgoing, error.cause);
    if (codeOf(error) === 'E_CLOSED')
      return publishError('E_CLOSED', isWritten ? 'unknown' : 'not-sent', toError(error).message, outgoing, error);
    const { code, outcome, error: cause } = error instanceof Expired ? unknownBecause(error) : refusalOf(error);
    return publishError(code, outcome, cause.message, outgoing, cause);
  }

  #whyLate(): string {
    const { sending, target } = this.#links;
    const why = sending.isReady ? '' : (sending.lastError?.message ?? '');
    return `not confirmed by ${target.label} within the time given to send()${why === '' ? '' : `: ${why}`}`;
  }
}

/** Why a call ends before it is answered. */
class End extends Error {
  readonly code: ErrorCode;
  constructor(code: ErrorCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

/** Answers were lost for so long that the key may have ended: its absence proves nothing any more. */
class Expired extends Error {}

/** Rejects with the reason of `end` when that comes first; the answer may still come, and nobody hears it. */
function orEnd<T>(work: Promise<T>, end: AbortSignal, onEnd: () => void): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      onEnd();
      reject(end.reason);
    };
    if (end.aborted) return onAbort();
    end.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => end.removeEventListener('abort', onAbort));
  });
}
