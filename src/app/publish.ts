/**
 * Stop 2 of the walk: options → route → middleware → encode → outbox → broker. Holds no connection: the gateway does.
 * Next stop: `wire/task-message.ts`, then (through `outbox.ts`) `brokers/broker.ts`.
 *
 * Hot path: a send without middleware makes its message, its promise and its handle, and nothing else.
 */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { OutgoingMessage } from '../brokers/broker.js';
import type { Clock } from '../core/clock.js';
import { ArgumentError, codeOf, PublishError, toError } from '../core/errors.js';
import type { Destination, WireMessage } from '../wire/message.js';
import { encodeTaskMessage } from '../wire/task-message.js';
import { checkHeaders, type ResolvedCallOptions } from './call-options.js';
import type { AppConfig } from './config.js';
import { dedupeKeyOf } from './dedupe.js';
import { SentEvents } from './events/sent-events.js';
import type { Gateway } from './gateway.js';
import { type HeaderValue, type PublishRequest, runPublishMiddleware } from './middleware.js';
import { type Handle, MAX_BATCH, Outbox, type Outgoing, type OutgoingCall, type Sink } from './outbox.js';
import { checkPriority, checkQueueName } from './router.js';
import { type ActiveRun, activeRun } from './task-context.js';
import { type Eventually, isThenable } from './validate.js';

/** A task with its call options and route: everything about a send that is known before its arguments. */
export interface PreparedCall extends OutgoingCall {
  readonly to: Destination;
  readonly priority: number | undefined;
  readonly headers: Readonly<Record<string, HeaderValue>> | null;
  /** Another make of worker may have to run it: see `OutgoingMessage`. */
  readonly anyWorker: boolean;
  readonly timeoutMs: number;
  /** What keywords are called in messages: `kwargs`, or `input` for object tasks. */
  readonly keywordsName: string;
  readonly options: ResolvedCallOptions;
}

/** A row of `sendMany`, checked. */
export interface PreparedRow {
  readonly call: PreparedCall;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
}

/** What of a call a middleware may change. */
type Changeable = Pick<PublishRequest, 'id' | 'args' | 'kwargs' | 'queue' | 'priority'> & {
  readonly headers: PreparedCall['headers'];
};

/** How many batches of one `sendMany` are under way at once: the next is encoded while the broker works, and no more. */
const MAX_BATCHES_AHEAD = 4;

/** Celery's form; monitors show it. */
export const ORIGIN = `gen${process.pid}@${hostname()}`;

export class Publisher {
  readonly #config: AppConfig;
  /** For messages that are encoded elsewhere. */
  readonly outbox: Outbox;
  #clock: Clock;

  constructor(config: AppConfig, gateway: () => Gateway, clock: Clock) {
    this.#config = config;
    this.#clock = clock;
    const told = config.sendSentEvent ? new SentEvents(gateway, ORIGIN, () => config.logger) : null;
    this.outbox = new Outbox(gateway, config.maxPendingSends, told && ((message) => told.tell(message, this.#clock)));
  }

  /** The gateway or the clock has changed. */
  reset(clock: Clock): void {
    this.#clock = clock;
    this.outbox.reset();
  }

  /** Sends what waits and resolves when it has an answer. */
  settled(): Promise<void> {
    return this.outbox.settled();
  }

  /**
   * Sends one task; resolves with its handle once the broker has confirmed.
   * @throws ArgumentError `E_NOT_SERIALISABLE`, `E_MESSAGE_TOO_LARGE`; PublishError. All of them by rejection.
   */
  send(call: PreparedCall, args: readonly unknown[], kwargs: Readonly<Record<string, unknown>>): Promise<Handle> {
    const id = call.options.id ?? randomUUID();
    if (this.#config.middleware.publish.length > 0) return this.#sendThroughMiddleware(call, id, args, kwargs);
    return new Promise((resolve, reject) => {
      const run = activeRun.getStore();
      const message = this.#encode(
        call,
        { id, args, kwargs, queue: call.to.queue, priority: call.priority, headers: call.headers },
        run,
      );
      this.#hand(call, { id, call, message, run, sink: { sent: resolve, failed: reject }, index: 0 });
    });
  }

  /**
   * Sends rows in batches, without a promise for each. One entry a row: its handle, or its error.
   * @param prepare checks a row; what it throws is the row's error
   */
  async sendMany<Row>(rows: readonly Row[], prepare: (row: Row) => Eventually<PreparedRow>): Promise<(Handle | Error)[]> {
    const results: (Handle | Error)[] = new Array(rows.length);
    const sink: Sink = {
      sent: (handle, index) => void (results[index] = handle),
      failed: (error, index) => void (results[index] = error),
    };
    const ahead = new Set<Promise<unknown>>();
    for (let start = 0; start < rows.length; start += MAX_BATCH) {
      const work = await this.#sendSlice(rows, start, Math.min(start + MAX_BATCH, rows.length), prepare, sink);
      const done: Promise<unknown> = Promise.all(work).then(() => ahead.delete(done));
      ahead.add(done);
      if (ahead.size >= MAX_BATCHES_AHEAD) await Promise.race(ahead);
    }
    await Promise.all(ahead);
    return results;
  }

  /** Encodes some rows and starts their publish; the promises in the answer are settled when their rows are, and never reject. */
  async #sendSlice<Row>(
    rows: readonly Row[],
    start: number,
    end: number,
    prepare: (row: Row) => Eventually<PreparedRow>,
    sink: Sink,
  ): Promise<Promise<void>[]> {
    const run = activeRun.getStore();
    const throughMiddleware = this.#config.middleware.publish.length > 0;
    const work: Promise<void>[] = [];
    const sends: Outgoing[] = [];
    let first: PreparedCall | null = null;
    for (let index = start; index < end; index++) {
      try {
        const prepared = prepare(rows[index] as Row);
        const { call, args, kwargs } = isThenable(prepared) ? await prepared : prepared;
        first ??= call;
        if (throughMiddleware) {
          const failed = (error: unknown): void => sink.failed(toError(error), index);
          work.push(this.send(call, args, kwargs).then((handle) => sink.sent(handle, index), failed));
          continue;
        }
        const id = call.options.id ?? randomUUID();
        refuseAborted(call, id);
        const message = this.#encode(
          call,
          { id, args, kwargs, queue: call.to.queue, priority: call.priority, headers: call.headers },
          run,
        );
        sends.push({ id, call, message, run, sink, index });
      } catch (error) {
        sink.failed(toError(error), index);
      }
    }
    // Deadline and signal are not a row's own, so those of the first are those of all.
    if (first !== null && sends.length > 0)
      work.push(this.outbox.publish({ timeoutMs: first.timeoutMs, signal: first.options.signal, sends, bounded: false }));
    return work;
  }

  async #sendThroughMiddleware(
    call: PreparedCall,
    id: string,
    args: readonly unknown[],
    kwargs: Readonly<Record<string, unknown>>,
  ): Promise<Handle> {
    const run = activeRun.getStore();
    let handle: Handle | null = null;
    const { lovage_resent: resent, ...own } = call.headers ?? {};
    const request: PublishRequest = {
      id,
      task: call.task,
      args,
      kwargs,
      queue: call.to.queue,
      priority: call.priority,
      headers: own,
    };
    await runPublishMiddleware(this.#config.middleware.publish, request, (last) => {
      checkQueueName(last.queue, `middleware: queue of ${call.task}`);
      if (last.priority !== undefined) checkPriority(last.priority, `middleware: priority of ${call.task}`);
      checkHeaders(last.headers, `middleware: headers of ${call.task}`);
      const headers = resent === undefined ? last.headers : { ...last.headers, lovage_resent: resent };
      const message = this.#encode(call, { ...last, headers }, run);
      return new Promise<void>((resolve, reject) => {
        const sent = (confirmed: Handle): void => {
          handle = confirmed;
          resolve();
        };
        this.#hand(call, { id: last.id, call, message, run, sink: { sent, failed: reject }, index: 0 });
      });
    });
    return handle ?? call.handle(id);
  }

  #hand(call: PreparedCall, send: Outgoing): void {
    refuseAborted(call, send.id);
    this.outbox.add(send, call.timeoutMs, call.options.signal);
  }

  #encode(call: PreparedCall, send: Changeable, run: ActiveRun | undefined): OutgoingMessage {
    const { options } = call;
    const { id, priority } = send;
    const nowMs = this.#clock.nowMs();
    const eta = options.countdownMs === null ? options.eta : new Date(nowMs + options.countdownMs);
    const parent = run?.context;
    let message: WireMessage;
    try {
      message = encodeTaskMessage(
        {
          task: call.task,
          id,
          args: send.args,
          kwargs: send.kwargs,
          eta,
          expires: options.expiresMs === null ? options.expiresAt : new Date(nowMs + options.expiresMs),
          timeLimitMs: options.timeLimitMs,
          softTimeLimitMs: options.softTimeLimitMs,
          rootId: parent ? parent.rootId : id,
          parentId: parent ? parent.id : null,
          ignoreResult: call.ignoreResult,
          replyTo: call.ignoreResult ? null : (this.outbox.replyTo ?? null),
          origin: ORIGIN,
          headers: send.headers,
          ...(options.stamps && { stamps: options.stamps, stampedHeaders: Object.keys(options.stamps) }),
        },
        { nowMs, json: this.#config.json, maxMessageBytes: this.#config.maxMessageSize },
      );
    } catch (error) {
      throw call.keywordsName === 'kwargs' ? error : renamePath(error, call.keywordsName);
    }
    // A middleware that names another queue means that one, not the route's exchange.
    const to = send.queue === call.to.queue ? call.to : { queue: send.queue };
    const kept = options.dedupe && { dedupe: dedupeKeyOf(call.task, options.dedupe) };
    const etaMs = eta === null ? 0 : eta.getTime();
    if (etaMs > nowMs) {
      const delayed = { to, message, notBeforeMs: etaMs, ...kept, ...(call.anyWorker && { anyWorker: true }) };
      return priority === undefined ? delayed : { ...delayed, priority };
    }
    if (kept) return priority === undefined ? { to, message, ...kept } : { to, message, priority, ...kept };
    return priority === undefined ? { to, message } : { to, message, priority };
  }
}

/** @throws PublishError `E_PUBLISH_FAILED` when the signal of the call has aborted already */
function refuseAborted(call: PreparedCall, id: string): void {
  const { signal } = call.options;
  if (!signal?.aborted) return;
  throw new PublishError('E_PUBLISH_FAILED', `send of ${call.task} was aborted before it began`, {
    outcome: 'not-sent',
    taskId: id,
    cause: signal.reason,
  });
}

/** Object tasks have one input; that its fields travel as keywords is our business. */
function renamePath(error: unknown, name: string): unknown {
  if (codeOf(error) !== 'E_NOT_SERIALISABLE' || !(error instanceof Error) || !error.message.startsWith('kwargs')) return error;
  return new ArgumentError(
    'E_NOT_SERIALISABLE',
    name + error.message.slice('kwargs'.length),
    error.cause === undefined ? undefined : { cause: error.cause },
  );
}
