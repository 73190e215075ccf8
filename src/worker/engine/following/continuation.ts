/**
 * What follows a task beyond its own result. After a success: messages that the executor made. After anything else: the same end for
 * all that will never run, so that nobody waits for it for ever, and the errbacks. Bodies are decoded here only for tasks that end
 * without a success and have something behind them. Next stop: `brokers/broker.ts`.
 *
 * Order: results first, then what follows, then the delivery. A worker that finds a final result under a delivery that somebody held
 * before sees to what follows again; ids are the same each time, and `lovage_resent` lets the next worker look.
 */
import type { Broker, OutgoingMessage } from '../../../brokers/broker.js';
import { publishOnce } from '../../../brokers/send-once.js';
import { afterSuccess, type Embed, errbacksOf, hasCanvas, ownPart, unreachable } from '../../../canvas/after.js';
import { idsFrom } from '../../../canvas/ids.js';
import { type OutgoingSettings, outgoingOf } from '../../../canvas/outgoing.js';
import type { CanvasPlan } from '../../../canvas/plan.js';
import { type CanvasFacts, canvasSettings } from '../../../canvas/routes.js';
import { reconnectDelayMs } from '../../../core/backoff.js';
import { type Clock, sleep } from '../../../core/clock.js';
import type { ErrorCode } from '../../../core/error-codes.js';
import { type PublishError, toError } from '../../../core/errors.js';
import type { Logger } from '../../../core/logger.js';
import type { ResultStore, ResultWrite } from '../../../results/result-store.js';
import type { WireMessage } from '../../../wire/message.js';
import { RESENT_HEADER } from '../../../wire/own-headers.js';
import { encodeJson } from '../../../wire/serializers/json.js';
import { parseSignature, type WireSignature } from '../../../wire/signature.js';
import { decodeTaskBody, type TaskHeaders } from '../../../wire/task-message.js';
import { withHeader } from '../admission.js';
import type { ResultForm, UnrunEnd } from '../result-write.js';
import type { GoodEnd } from './aftermath.js';
import type { EndedPart } from './chords.js';

/** How long one try to send may take. */
const SEND_MS = 30_000;

export interface ContinuationOptions {
  readonly broker: Broker;
  readonly store: ResultStore;
  readonly canvas: CanvasFacts;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly nodeName: string;
  readonly results: ResultForm;
  /** Aborts when the engine gives up waiting. */
  readonly signal: AbortSignal;
}

/** How a task ended that had something behind it. */
export interface BadEnd extends UnrunEnd {
  readonly headers: TaskHeaders;
  readonly message: WireMessage;
  /** It may have ended before. */
  readonly isRepeated: boolean;
}

export interface Consequences {
  /** Of tasks that will never run. */
  readonly writes: readonly ResultWrite[];
  /** To send when all that is stored. */
  readonly errbacks: readonly OutgoingMessage[];
  /** Of chords: the task itself, and what will never run. */
  readonly parts: readonly EndedPart[];
}

export const NO_CONSEQUENCES: Consequences = Object.freeze({ writes: [], errbacks: [], parts: [] });

export class Continuation {
  readonly #options: ContinuationOptions;
  readonly #settings: Omit<OutgoingSettings, 'nowMs' | 'parent' | 'isRepeated'>;

  constructor(options: ContinuationOptions) {
    this.#options = options;
    this.#settings = { ...canvasSettings(options.canvas), origin: options.nodeName };
  }

  /**
   * Sends them for as long as it takes. Resolves with why one never will be sent, or `null`, in order.
   * @throws BrokerError `E_CLOSED`, or the reason why the engine gave up
   */
  async send(messages: readonly OutgoingMessage[]): Promise<readonly (PublishError | null)[]> {
    const { broker, store, signal, logger } = this.#options;
    const refusals: (PublishError | null)[] = messages.map(() => null);
    // where neither broker nor store keeps keys, what is sent twice is told apart by its id alone
    const keepsKeys = broker.capabilities.dedupe === true || store.capabilities.sendKeys === true;
    let left = messages.map((message, index) => ({ message: keepsKeys ? message : withoutKey(message), index }));
    for (let tries = 0; left.length > 0; tries++) {
      const batch = left.map(({ message }) => message);
      const results = await publishOnce(broker, async () => store, batch, { timeoutMs: SEND_MS });
      let cause: PublishError | null = null;
      left = left.flatMap(({ message, index }, at) => {
        const result = results[at] ?? null;
        // whoever sent it before us may have died
        if (result === null || result.code === 'E_DUPLICATE_SEND') return [];
        if (result.code === 'E_CLOSED') throw result;
        if (isPassing(result)) {
          cause = result;
          return [{ message: resent(message), index }];
        }
        refusals[index] = result;
        return [];
      });
      if (left.length === 0) break;
      signal.throwIfAborted();
      const error = (cause as PublishError | null)?.message;
      if (tries % 10 === 0) logger.warn({ messages: left.length, error }, 'what follows tasks could not be sent; trying again');
      await sleep(reconnectDelayMs(tries, Math.random()), signal);
    }
    return refusals;
  }

  /** Of a task that nobody else will store one for. */
  failureOf({ headers, message, state, exceptionJson, traceback }: BadEnd): ResultWrite {
    return this.#options.results.ofMessage({ headers, message }, null, { state, exceptionJson, traceback });
  }

  /** What a task that did not succeed brings about. A body that nobody can read has nothing behind it. */
  consequences({ headers, message, state, exceptionJson, traceback, isRepeated }: BadEnd): Consequences {
    const embed = this.#embedOf(message, headers);
    if (embed === null) return NO_CONSEQUENCES;
    const { results, logger } = this.#options;
    try {
      const { ids, tasks, parts } = unreachable(embed.chain);
      const own = ownPart(embed, headers);
      const ended = [...(own ? [own] : []), ...parts].map(({ body, ...part }) => ({
        ...part,
        body: () => body,
        state,
        resultJson: exceptionJson,
        parent: headers,
      }));
      const end = { state, exceptionJson, traceback };
      const writes = tasks.map((task, index) => results.ofUnsent(ids[index] as string, task, headers.replyTo, end));
      if (state !== 'FAILURE') return { writes, errbacks: [], parts: ended };
      const plan = errbacksOf(embed.errbacks, headers.id, { newId: idsFrom(headers.id, 'failure'), replyTo: null });
      return { writes, errbacks: this.messagesOf(plan, headers, isRepeated), parts: ended };
    } catch (error) {
      logger.error(
        { id: headers.id, task: headers.task, error: toError(error).message },
        'what follows a failed task cannot be read; whoever waits for it is not told',
      );
      return NO_CONSEQUENCES;
    }
  }

  /** What follows a success whose result stands already, made of that. A body that nobody can read has nothing behind it. */
  goodEnd(headers: TaskHeaders, message: WireMessage, result: unknown): GoodEnd | null {
    const embed = this.#embedOf(message, headers);
    if (embed === null) return null;
    try {
      const part = embed.chord === null ? null : this.succeededPart(headers, message, encodeJson(result));
      const { plan } = afterSuccess(embed, result, { newId: idsFrom(headers.id, 'success'), replyTo: null });
      const chords = plan.chords.map(({ body, ...chord }) => ({ ...chord, body: encodeJson(body) }));
      return { headers, message, follow: this.messagesOf(plan, headers, true), chords, part, isRepeated: true };
    } catch (error) {
      const { id, task } = headers;
      this.#options.logger.error({ id, task, error: toError(error).message }, 'what follows a task cannot be sent again');
      return null;
    }
  }

  /** The part of a chord that a task is which succeeded. Its body is read when it is needed: by the last part of all. */
  succeededPart(headers: TaskHeaders, message: WireMessage, resultJson: string): EndedPart | null {
    const { id: taskId, groupId, groupIndex: index } = headers;
    if (groupId === null) return null;
    const body = (): WireSignature => parseSignature(decodeTaskBody(message).embed.chord, 'embed.chord');
    return { taskId, groupId, index, body, state: 'SUCCESS', resultJson, parent: headers };
  }

  /** @throws ArgumentError, WireError: something in it cannot be sent */
  messagesOf(plan: CanvasPlan, parent: OutgoingSettings['parent'], isRepeated: boolean): OutgoingMessage[] {
    const settings = { ...this.#settings, nowMs: this.#options.clock.nowMs(), parent, isRepeated };
    return plan.tasks.map((task) => {
      const { id: _id, task: _task, ...outgoing } = outgoingOf(task, settings);
      return outgoing;
    });
  }

  #embedOf(message: WireMessage, headers: TaskHeaders): Embed | null {
    try {
      const { embed } = decodeTaskBody(message);
      return hasCanvas(embed) ? embed : null;
    } catch (error) {
      this.#options.logger.debug({ id: headers.id, error: toError(error).message }, 'the body of an ended task cannot be read');
      return null;
    }
  }
}

/** Refusals that end by themselves, as opposed to a message that this broker never takes. */
const PASSING: ReadonlySet<ErrorCode> = new Set([
  'E_PUBLISH_TIMEOUT',
  'E_CONNECTION_LOST',
  'E_BROKER_UNREACHABLE',
  'E_BROKER_AUTH',
  'E_BROKER_FULL',
]);
const isPassing = ({ outcome, code }: PublishError): boolean => outcome === 'unknown' || PASSING.has(code);

const withoutKey = ({ dedupe: _key, ...message }: OutgoingMessage): OutgoingMessage => message;

/** It may be there already: whoever gets it a second time looks at its result first. */
const resent = (outgoing: OutgoingMessage): OutgoingMessage => ({
  ...outgoing,
  message: withHeader(outgoing.message, RESENT_HEADER, true),
});
