/**
 * Messages on their way from `publish.ts` to the gateway. Owns the batches (one publish for all sends of a tick), the
 * bound on waiting sends, the reply queue, and telling every send how it ended. Knows nothing of tasks and options.
 * Next stop: `brokers/broker.ts`.
 */
import type { OutgoingMessage, PublishResult } from '../brokers/broker.js';
import { codeOf, type DuplicateSendError, PublishError, toError } from '../core/errors.js';
import type { ResolvedDedupe } from './dedupe.js';
import type { Gateway } from './gateway.js';
import { type ActiveRun, MAX_CHILDREN } from './task-context.js';
import type { TaskHandle } from './task-handle.js';
import { within } from './within.js';

/** What a send resolves with. */
export type Handle = TaskHandle<unknown>;

/** Told how sends ended. Rows of one `sendMany` share a sink and are told apart by `index`. */
export interface Sink {
  sent(handle: Handle, index: number): void;
  failed(error: Error, index: number): void;
}

/** What the outbox must know of a call. */
export interface OutgoingCall {
  readonly task: string;
  readonly ignoreResult: boolean;
  readonly options: { readonly dedupe: ResolvedDedupe | null };
  readonly handle: (id: string, deduplicated?: boolean) => Handle;
}

/** One message and whom to tell. */
export interface Outgoing {
  readonly id: string;
  readonly call: OutgoingCall;
  readonly message: OutgoingMessage;
  /** The run that sends it: its result lists the ids of what it sent. */
  readonly run: ActiveRun | undefined;
  readonly sink: Sink;
  readonly index: number;
}

/** Sends that share a publish. */
export interface Batch {
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  readonly sends: Outgoing[];
  /** Whether its sends count against the bound; `sendMany` bounds itself. */
  readonly bounded: boolean;
}

/** How many messages one publish takes; beyond it the next batch begins. Bounds the size of a driver's command. */
export const MAX_BATCH = 1_000;
/** How many open batches a send looks through for its own; more only happens when every send has its own signal. */
const LOOK_BACK = 4;

export class Outbox {
  readonly #gateway: () => Gateway;
  readonly #maxWaiting: number;
  readonly #onSent: ((message: OutgoingMessage) => void) | null;
  #open: Batch[] = [];
  /** Sends between `add` and their answer. */
  #waiting = 0;
  readonly #running = new Set<Promise<void>>();
  /** The reply queue of an `rpc:` store; `undefined` until the gateway has told. */
  replyTo: string | null | undefined;
  #preparing: Promise<void> | null = null;

  /** @param onSent told of each message that was confirmed */
  constructor(gateway: () => Gateway, maxWaiting: number, onSent: ((message: OutgoingMessage) => void) | null = null) {
    this.#gateway = gateway;
    this.#onSent = onSent;
    this.#maxWaiting = maxWaiting;
  }

  /** The gateway has changed: the new one is asked for its reply queue. */
  reset(): void {
    this.replyTo = undefined;
    this.#preparing = null;
  }

  /** Puts a send into the batch of this tick. */
  add(send: Outgoing, timeoutMs: number, signal: AbortSignal | undefined): void {
    if (this.#waiting >= this.#maxWaiting) {
      const why = `${this.#waiting} sends wait for the broker already (maxPendingSends): await some of them before the next, or use sendMany`;
      send.sink.failed(new PublishError('E_PUBLISH_FAILED', why, { outcome: 'not-sent', taskId: send.id }), send.index);
      return;
    }
    this.#waiting += 1;
    this.#batchFor(timeoutMs, signal).sends.push(send);
  }

  #batchFor(timeoutMs: number, signal: AbortSignal | undefined): Batch {
    const open = this.#open;
    for (let index = open.length - 1; index >= Math.max(0, open.length - LOOK_BACK); index--) {
      const batch = open[index] as Batch;
      if (batch.timeoutMs === timeoutMs && batch.signal === signal && batch.sends.length < MAX_BATCH) return batch;
    }
    // nextTick and not a microtask: it runs when all microtasks have, so sends that continue from one another's promises still share a batch.
    if (open.length === 0) process.nextTick(this.#flush);
    const batch: Batch = { timeoutMs, signal, sends: [], bounded: true };
    open.push(batch);
    return batch;
  }

  readonly #flush = (): void => {
    const batches = this.#open;
    if (batches.length === 0) return;
    this.#open = [];
    for (const batch of batches) void this.publish(batch);
  };

  /** Publishes what waits now, and resolves when all that is under way now has an answer. */
  async settled(): Promise<void> {
    this.#flush();
    await Promise.all(this.#running);
  }

  /** Publishes a batch and tells each send how it ended; never rejects. */
  publish(batch: Batch): Promise<void> {
    const done = this.#publish(batch).then(() => void this.#running.delete(done));
    this.#running.add(done);
    return done;
  }

  async #publish(batch: Batch): Promise<void> {
    const { sends } = batch;
    const answer = await this.#ask(batch).catch(toError);
    // Before anybody is told: who hears may send again at once.
    if (batch.bounded) this.#waiting -= sends.length;
    for (let index = 0; index < sends.length; index++) {
      const send = sends[index] as Outgoing;
      if (answer instanceof Error) send.sink.failed(refused(send, answer), send.index);
      else {
        settle(send, answer[index]);
        if (this.#onSent !== null && answer[index] === null) this.#onSent(send.message);
      }
    }
  }

  async #ask({ sends, timeoutMs, signal }: Batch): Promise<readonly PublishResult[]> {
    let leftMs = timeoutMs;
    if (this.replyTo === undefined && sends.some(({ call }) => !call.ignoreResult)) {
      const startedMs = performance.now();
      await within(this.#prepare(), timeoutMs, signal);
      leftMs = Math.max(1, timeoutMs - (performance.now() - startedMs));
    }
    const messages = sends.map((send) => this.#addressed(send));
    return this.#gateway().publish(messages, signal ? { timeoutMs: leftMs, signal } : { timeoutMs: leftMs });
  }

  /** The reply queue, asked for if need be. */
  async replyQueue(timeoutMs: number, signal: AbortSignal | undefined): Promise<string | null> {
    if (this.replyTo === undefined) await within(this.#prepare(), timeoutMs, signal);
    return this.replyTo ?? null;
  }

  /** Messages encoded before the reply queue was known get it here; all others have it. */
  #addressed({ message: outgoing, call }: Outgoing): OutgoingMessage {
    const { message } = outgoing;
    if (!this.replyTo || call.ignoreResult || message.properties.reply_to === this.replyTo) return outgoing;
    return { ...outgoing, message: { ...message, properties: { ...message.properties, reply_to: this.replyTo } } };
  }

  #prepare(): Promise<void> {
    if (this.#preparing === null) {
      const preparing = this.#askReplyQueue().finally(() => {
        if (this.#preparing === preparing) this.#preparing = null;
      });
      this.#preparing = preparing;
    }
    return this.#preparing;
  }

  async #askReplyQueue(): Promise<void> {
    const gateway = this.#gateway();
    const replyTo = await gateway.prepareResults();
    if (this.#gateway() === gateway) this.replyTo = replyTo;
  }
}

function settle({ sink, index, id, call, run }: Outgoing, result: PublishResult | undefined): void {
  if (result === null) {
    const children = run?.children;
    // A result lists what its task sent; one that sends without end must not make a result without end.
    if (children !== undefined && children.length < MAX_CHILDREN) children.push(id);
    sink.sent(call.handle(id), index);
  } else if (result === undefined) {
    sink.failed(
      new PublishError('E_INTERNAL', `the broker driver gave no result for ${call.task}`, { outcome: 'unknown', taskId: id }),
      index,
    );
  } else if (result.code === 'E_DUPLICATE_SEND' && call.options.dedupe?.onConflict === 'return-existing') {
    sink.sent(call.handle((result as DuplicateSendError).existingId, true), index);
  } else if (result.taskId === id) {
    sink.failed(result, index);
  } else {
    // Drivers may share one error among a batch; each send needs its own id.
    sink.failed(
      new PublishError(result.code, result.message, { outcome: result.outcome, taskId: id, cause: result.cause }),
      index,
    );
  }
}

/** The whole publish was refused, or there is no gateway: nothing was sent. */
function refused({ id, call }: Outgoing, cause: Error): PublishError {
  const outcome = cause instanceof PublishError ? cause.outcome : 'not-sent';
  return new PublishError(codeOf(cause) ?? 'E_PUBLISH_FAILED', `${call.task} was not sent: ${cause.message}`, {
    outcome,
    taskId: id,
    cause,
  });
}
