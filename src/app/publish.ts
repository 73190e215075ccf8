/**
 * Stop 2 of the walk: options → route → middleware → encode → broker. Every send of one tick goes to the broker in one
 * `publish`, so a caller with a hundred sends in flight pays for one round trip. Holds no connection: the gateway does.
 * Next stop: `wire/task-message.ts`, then `brokers/broker.ts`.
 *
 * Hot path: a send without middleware makes its message, its promise and its handle, and nothing else.
 */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { OutgoingMessage, PublishResult } from '../brokers/broker.js';
import type { Clock } from '../core/clock.js';
import { ArgumentError, codeOf, PublishError, toError } from '../core/errors.js';
import type { WireMessage } from '../wire/message.js';
import { encodeTaskMessage } from '../wire/task-message.js';
import { checkHeaders, type ResolvedCallOptions } from './call-options.js';
import type { AppConfig } from './config.js';
import type { Gateway } from './gateway.js';
import { type HeaderValue, type PublishRequest, runPublishMiddleware } from './middleware.js';
import { checkPriority, checkQueueName } from './router.js';
import { type ActiveRun, activeRun, MAX_CHILDREN } from './task-context.js';
import type { TaskHandle } from './task-handle.js';
import { type Eventually, isThenable } from './validate.js';

/** A task with its call options and route: everything about a send that is known before its arguments. */
export interface PreparedCall {
  readonly task: string;
  readonly queue: string;
  readonly priority: number | undefined;
  readonly headers: Readonly<Record<string, HeaderValue>> | null;
  readonly ignoreResult: boolean;
  readonly timeoutMs: number;
  /** What the arguments are called in messages: `args` and `kwargs`, or `input` for object tasks. */
  readonly keywordsName: string;
  readonly options: ResolvedCallOptions;
  /** What the send resolves with. */
  readonly handle: (id: string) => Handle;
}

type Handle = TaskHandle<unknown>;

/** A row of `sendMany`, checked. */
export interface PreparedRow {
  readonly call: PreparedCall;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
}

/** What one send turned into. */
interface Pending {
  readonly id: string;
  readonly call: PreparedCall;
  /** Written before the reply queue was known. */
  readonly wantsReplyTo: boolean;
  /** The run that sent it: its result lists the ids of what it sent. */
  readonly run: ActiveRun | undefined;
  resolve(handle: Handle): void;
  reject(error: Error): void;
}

/** Sends that share a publish. */
interface Batch {
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  readonly messages: OutgoingMessage[];
  readonly pending: Pending[];
}

/** How many messages one publish takes; beyond it the next batch begins. Bounds the size of a driver's command. */
const MAX_BATCH = 1_000;
/** How many batches of one `sendMany` are under way at once: the next is encoded while the broker works, and no more. */
const MAX_BATCHES_AHEAD = 4;

const ORIGIN = `gen${process.pid}@${hostname()}`;

export class Publisher {
  readonly #config: AppConfig;
  readonly #gateway: () => Gateway;
  #clock: Clock;
  #batches: Batch[] = [];
  /** Sends between `send()` and their confirmation, against `maxPendingSends`. `sendMany` has its own bound. */
  #waiting = 0;
  readonly #running = new Set<Promise<void>>();
  /** The reply queue of an `rpc:` store; `undefined` until the gateway has told. */
  #replyTo: string | null | undefined;
  #preparing: Promise<void> | null = null;

  constructor(config: AppConfig, gateway: () => Gateway, clock: Clock) {
    this.#config = config;
    this.#gateway = gateway;
    this.#clock = clock;
  }

  /** The gateway has changed: ask the new one for its reply queue. */
  reset(clock: Clock): void {
    this.#clock = clock;
    this.#replyTo = undefined;
    this.#preparing = null;
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
      this.#enqueue(call, id, this.#encode(call, id, args, kwargs, run, call.queue, call.priority, call.headers), run, resolve, reject);
    });
  }

  /**
   * Sends rows in batches, without a promise for each. One entry a row: its handle, or its error.
   * @param prepare checks a row; what it throws is the row's error
   */
  async sendMany<Row>(rows: readonly Row[], prepare: (row: Row) => Eventually<PreparedRow>): Promise<(Handle | Error)[]> {
    const results: (Handle | Error)[] = new Array(rows.length);
    const through = this.#config.middleware.publish.length > 0;
    const run = activeRun.getStore();
    const ahead = new Set<Promise<void>>();
    for (let start = 0; start < rows.length; start += MAX_BATCH) {
      let batch: Batch | null = null;
      const work: Promise<void>[] = [];
      for (let index = start; index < Math.min(start + MAX_BATCH, rows.length); index++) {
        const resolve = (handle: Handle): void => void (results[index] = handle);
        const reject = (error: unknown): void => void (results[index] = toError(error));
        try {
          const prepared = prepare(rows[index] as Row);
          const { call, args, kwargs } = isThenable(prepared) ? await prepared : prepared;
          if (through) {
            work.push(this.send(call, args, kwargs).then(resolve, reject));
            continue;
          }
          const id = call.options.id ?? randomUUID();
          const message = this.#encode(call, id, args, kwargs, run, call.queue, call.priority, call.headers);
          if (call.options.signal?.aborted) throw abortedEarly(call, id);
          batch ??= { timeoutMs: call.timeoutMs, signal: call.options.signal, messages: [], pending: [] };
          batch.messages.push(message);
          batch.pending.push({ id, call, wantsReplyTo: this.#wantsReplyTo(call), run, resolve, reject });
        } catch (error) {
          reject(error);
        }
      }
      if (batch !== null) work.push(this.#start(batch));
      const done = Promise.all(work).then(() => void ahead.delete(done));
      ahead.add(done);
      if (ahead.size >= MAX_BATCHES_AHEAD) await Promise.race(ahead);
    }
    await Promise.all(ahead);
    return results;
  }

  /** Publishes what waits now, and resolves when all that is under way now has an answer. */
  async settled(): Promise<void> {
    this.#flush();
    await Promise.all(this.#running);
  }

  async #sendThroughMiddleware(call: PreparedCall, id: string, args: readonly unknown[], kwargs: Readonly<Record<string, unknown>>): Promise<Handle> {
    const run = activeRun.getStore();
    let handle: Handle | null = null;
    const request: PublishRequest = { id, task: call.task, args, kwargs, queue: call.queue, priority: call.priority, headers: call.headers ?? {} };
    await runPublishMiddleware(this.#config.middleware.publish, request, (last) => {
      checkQueueName(last.queue, `middleware: queue of ${call.task}`);
      if (last.priority !== undefined) checkPriority(last.priority, `middleware: priority of ${call.task}`);
      const { lovage_resent: resent, ...own } = last.headers;
      checkHeaders(own, `middleware: headers of ${call.task}`);
      const headers = resent === undefined ? own : last.headers;
      const message = this.#encode(call, last.id, last.args, last.kwargs, run, last.queue, last.priority, headers);
      return new Promise<void>((resolve, reject) => {
        const confirmed = (sent: Handle): void => {
          handle = sent;
          resolve();
        };
        this.#enqueue(call, last.id, message, run, confirmed, reject);
      });
    });
    return handle ?? call.handle(id);
  }

  #encode(
    call: PreparedCall,
    id: string,
    args: readonly unknown[],
    kwargs: Readonly<Record<string, unknown>>,
    run: ActiveRun | undefined,
    queue: string,
    priority: number | undefined,
    headers: Readonly<Record<string, HeaderValue>> | null,
  ): OutgoingMessage {
    const { options } = call;
    const nowMs = this.#clock.nowMs();
    const eta = options.countdownMs === null ? options.eta : new Date(nowMs + options.countdownMs);
    const parent = run?.context;
    let message: WireMessage;
    try {
      message = encodeTaskMessage(
        {
          task: call.task,
          id,
          args,
          kwargs,
          eta,
          expires: options.expiresMs === null ? options.expiresAt : new Date(nowMs + options.expiresMs),
          timeLimitMs: options.timeLimitMs,
          softTimeLimitMs: options.softTimeLimitMs,
          rootId: parent ? parent.rootId : id,
          parentId: parent ? parent.id : null,
          ignoreResult: call.ignoreResult,
          replyTo: this.#replyTo ?? null,
          origin: ORIGIN,
          headers,
        },
        { nowMs, json: this.#config.json, maxMessageBytes: this.#config.maxMessageSize },
      );
    } catch (error) {
      throw call.keywordsName === 'kwargs' ? error : renamePath(error, call.keywordsName);
    }
    const to = { queue };
    const etaMs = eta === null ? 0 : eta.getTime();
    if (etaMs > nowMs) return priority === undefined ? { to, message, notBeforeMs: etaMs } : { to, message, priority, notBeforeMs: etaMs };
    return priority === undefined ? { to, message } : { to, message, priority };
  }

  #enqueue(
    call: PreparedCall,
    id: string,
    message: OutgoingMessage,
    run: ActiveRun | undefined,
    resolve: (handle: Handle) => void,
    reject: (error: Error) => void,
  ): void {
    const { signal } = call.options;
    if (signal?.aborted) {
      reject(abortedEarly(call, id));
      return;
    }
    if (this.#waiting >= this.#config.maxPendingSends) {
      reject(
        new PublishError(
          'E_PUBLISH_FAILED',
          `${this.#waiting} sends wait for the broker already (maxPendingSends): await them, or use sendMany with fewer rows at a time`,
          { outcome: 'not-sent', taskId: id },
        ),
      );
      return;
    }
    this.#waiting += 1;
    const batch = this.#batchFor(call.timeoutMs, signal);
    batch.messages.push(message);
    batch.pending.push({ id, call, wantsReplyTo: this.#wantsReplyTo(call), run, resolve, reject });
  }

  /** The open batch of this deadline and signal; the first of a tick arranges the flush. */
  #batchFor(timeoutMs: number, signal: AbortSignal | undefined): Batch {
    const batches = this.#batches;
    // From the newest: sends of one kind come in a row. Different signals each have their own batch, hence only the newest is looked at.
    for (let index = batches.length - 1; index >= 0; index--) {
      const batch = batches[index] as Batch;
      if (batch.timeoutMs === timeoutMs && batch.signal === signal && batch.messages.length < MAX_BATCH) return batch;
      if (batches.length - index >= 4) break;
    }
    // nextTick and not a microtask: it runs when all microtasks have, so sends that continue from one another's promises still share a batch.
    if (batches.length === 0) process.nextTick(this.#flush);
    const batch: Batch = { timeoutMs, signal, messages: [], pending: [] };
    batches.push(batch);
    return batch;
  }

  readonly #flush = (): void => {
    const batches = this.#batches;
    if (batches.length === 0) return;
    this.#batches = [];
    for (const batch of batches) {
      void this.#start(batch).then(() => {
        this.#waiting -= batch.pending.length;
      });
    }
  };

  /** Publishes a batch and remembers that it is under way. */
  #start(batch: Batch): Promise<void> {
    const done = this.#publish(batch).then(() => void this.#running.delete(done));
    this.#running.add(done);
    return done;
  }

  /** Never rejects: what goes wrong is told to each send. */
  async #publish(batch: Batch): Promise<void> {
    const { messages, pending, signal } = batch;
    try {
      let timeoutMs = batch.timeoutMs;
      if (pending.some((send) => send.wantsReplyTo)) {
        const startedMs = performance.now();
        await within(this.#prepare(), timeoutMs, signal);
        timeoutMs = Math.max(1, timeoutMs - (performance.now() - startedMs));
        if (this.#replyTo) addReplyTo(messages, pending, this.#replyTo);
      }
      const results = await this.#gateway().publish(messages, signal ? { timeoutMs, signal } : { timeoutMs });
      for (let index = 0; index < pending.length; index++) settle(pending[index] as Pending, results[index]);
    } catch (thrown) {
      for (const send of pending) send.reject(failed(send, toError(thrown)));
    }
  }

  #wantsReplyTo(call: PreparedCall): boolean {
    return this.#replyTo === undefined && !call.ignoreResult;
  }

  #prepare(): Promise<void> {
    if (this.#replyTo !== undefined) return Promise.resolve();
    if (this.#preparing === null) {
      const preparing = this.#gateway()
        .prepareResults()
        .then((replyTo) => {
          if (this.#preparing === preparing) this.#replyTo = replyTo;
        })
        .finally(() => {
          if (this.#preparing === preparing) this.#preparing = null;
        });
      this.#preparing = preparing;
    }
    return this.#preparing;
  }
}

function settle(send: Pending, result: PublishResult | undefined): void {
  if (result === null) {
    const children = send.run?.children;
    // A result lists what its task sent; one that sends without end must not make a result without end.
    if (children !== undefined && children.length < MAX_CHILDREN) children.push(send.id);
    send.resolve(send.call.handle(send.id));
  } else if (result === undefined) {
    send.reject(new PublishError('E_INTERNAL', `the broker driver gave no result for ${send.call.task}`, { outcome: 'unknown', taskId: send.id }));
  } else {
    // Drivers may share one error among a batch; each send needs its own id.
    send.reject(result.taskId === send.id ? result : new PublishError(result.code, result.message, { outcome: result.outcome, taskId: send.id, cause: result.cause }));
  }
}

/** The whole publish was refused, or the gateway could not be opened: nothing was sent. */
function failed(send: Pending, cause: Error): PublishError {
  if (cause instanceof PublishError && cause.taskId === send.id) return cause;
  const code = codeOf(cause) ?? 'E_PUBLISH_FAILED';
  const outcome = cause instanceof PublishError ? cause.outcome : 'not-sent';
  return new PublishError(code, `${send.call.task} was not sent: ${cause.message}`, { outcome, taskId: send.id, cause });
}

function addReplyTo(messages: OutgoingMessage[], pending: readonly Pending[], replyTo: string): void {
  for (let index = 0; index < pending.length; index++) {
    if (!pending[index]?.wantsReplyTo) continue;
    const outgoing = messages[index] as OutgoingMessage;
    messages[index] = { ...outgoing, message: { ...outgoing.message, properties: { ...outgoing.message.properties, reply_to: replyTo } } };
  }
}

function abortedEarly(call: PreparedCall, id: string): PublishError {
  return new PublishError('E_PUBLISH_FAILED', `send of ${call.task} was aborted before it began`, { outcome: 'not-sent', taskId: id, cause: call.options.signal?.reason });
}

/** Object tasks have one input; that their fields travel as keywords is our business. */
function renamePath(error: unknown, name: string): unknown {
  if (codeOf(error) !== 'E_NOT_SERIALISABLE' || !(error instanceof Error) || !error.message.startsWith('kwargs')) return error;
  return new ArgumentError('E_NOT_SERIALISABLE', name + error.message.slice('kwargs'.length), error.cause === undefined ? undefined : { cause: error.cause });
}

/** Waits for `work` no longer than `timeoutMs` or the signal. Only for the first send of an app: later ones never come here. */
export function within<T>(work: Promise<T>, timeoutMs: number, signal: AbortSignal | undefined): Promise<T> {
  return new Promise((resolve, reject) => {
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    };
    const onAbort = (): void => {
      done();
      reject(new PublishError('E_PUBLISH_FAILED', 'the send was aborted before the broker could be reached', { outcome: 'not-sent', cause: signal?.reason }));
    };
    const timer = setTimeout(() => {
      done();
      reject(new PublishError('E_PUBLISH_TIMEOUT', `the broker could not be reached within ${timeoutMs} ms`, { outcome: 'not-sent' }));
    }, timeoutMs);
    if (signal?.aborted) return onAbort();
    signal?.addEventListener('abort', onAbort, { once: true });
    work.then(
      (value) => {
        done();
        resolve(value);
      },
      (error: unknown) => {
        done();
        reject(error);
      },
    );
  });
}
