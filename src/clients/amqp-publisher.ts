/**
 * Publishing with confirms: many messages, one wait. Owns one confirm channel on one link and what is in flight on it.
 *
 * A message is settled by the broker's confirm, a return (nobody to route to), a refusal that closes the channel, or the batch's
 * deadline. What a lost connection left unconfirmed is published again with the next one, so a message may arrive twice (and is
 * marked by `again`) but a confirmed one is never missing. Declaring queues is not done here.
 *
 * Nothing is allocated per message but a slot: confirms are counted against a ring, not against promises or timers.
 */

import type { ErrorCode } from '../core/error-codes.js';
import { type AmqpLink, type ChannelModel, type ConfirmChannel, type Message, type Options, retryDelayMs } from './amqp.js';
import {
  AGAIN,
  type AmqpOutgoing,
  Batch,
  culpritOf,
  DONE,
  FLYING,
  FRESH,
  looksLike,
  type PublishFailure,
  send,
  unroutable,
  unwritable,
} from './amqp-batch.js';
import { closeChannel } from './within.js';

export interface PublishBatchOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** How many messages, and bytes, may be unconfirmed at once: what is beyond waits unwritten, so nothing grows without bound. */
const WINDOW_MESSAGES = 4_096;
const WINDOW_BYTES = 16 * 1_048_576;

/** A publisher with confirms. `close()` fails what is in flight. */
export class ConfirmPublisher {
  readonly #link: AmqpLink;
  readonly #again: (options: Options.Publish) => Options.Publish;
  readonly #stopListening: () => void;
  readonly #active = new Set<Batch>();
  /** Batches with something to write, in order from `#head`. Finished ones are left in it for `#compact`. */
  #waiting: Batch[] = [];
  #head = 0;
  #dead = 0;
  #channel: ConfirmChannel | undefined;
  #slots: (Batch | undefined)[] = new Array<Batch | undefined>(WINDOW_MESSAGES);
  readonly #indexes = new Uint32Array(WINDOW_MESSAGES);
  /** The lowest tag not settled, and the tag of the next message. */
  #low = 1;
  #tag = 1;
  #bytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #timerAtMs = Infinity;
  #rebuild: NodeJS.Timeout | undefined;
  #tries = 0;
  #closed = false;

  /** @param again how a message says that it may have been published before */
  constructor(link: AmqpLink, again: (options: Options.Publish) => Options.Publish = (options) => options) {
    this.#link = link;
    this.#again = again;
    this.#stopListening = link.listen({
      onUp: (model) => {
        this.#tries = 0;
        model.on('unblocked', () => this.#pump());
        void this.#open(model);
      },
      onDown: (cause) => this.#lost(cause),
    });
  }

  /** Messages written or waiting; for tests and health. */
  get pending(): number {
    let count = 0;
    for (const batch of this.#active) count += batch.left;
    return count;
  }

  /** Publishes and waits for the confirms. One entry a message, `null` = confirmed. Never rejects. */
  publish(messages: readonly AmqpOutgoing[], options: PublishBatchOptions): Promise<readonly (PublishFailure | null)[]> {
    if (messages.length === 0) return Promise.resolve([]);
    return new Promise((resolve) => {
      const batch = new Batch(messages, performance.now() + options.timeoutMs, resolve);
      if (this.#closed) return this.#abort(batch, 'E_CLOSED', 'the broker was closed');
      const { signal } = options;
      if (signal) {
        const onAbort = (): void => this.#abort(batch, 'E_PUBLISH_FAILED', 'the send was aborted by its signal', signal.reason);
        if (signal.aborted) return onAbort();
        signal.addEventListener('abort', onAbort, { once: true });
        batch.detach = () => signal.removeEventListener('abort', onAbort);
      }
      this.#active.add(batch);
      this.#waiting.push(batch);
      if (batch.deadlineMs < this.#timerAtMs) this.#arm(batch.deadlineMs);
      this.#link.open();
      this.#pump();
    });
  }

  /** Fails everything in flight with `E_CLOSED`. The link is the caller's. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#stopListening();
    clearTimeout(this.#timer);
    clearTimeout(this.#rebuild);
    for (const batch of [...this.#active]) this.#abort(batch, 'E_CLOSED', 'the broker was closed');
    const channel = this.#channel;
    this.#channel = undefined;
    await closeChannel(channel);
  }

  async #open(model: ChannelModel): Promise<void> {
    try {
      const channel = await model.createConfirmChannel({ highWaterMark: 4 * WINDOW_MESSAGES });
      if (this.#closed || this.#link.model !== model) return;
      let refusal: Error | undefined;
      channel.on('error', (error: Error) => (refusal = error));
      channel.on('close', () => {
        if (this.#channel !== channel) return;
        this.#lost(refusal ?? new Error('the channel was closed'));
        if (this.#link.model === model) this.#reopen(model);
      });
      channel.on('return', (message: Message) => this.#returned(message));
      channel.on('ack', (fields) => this.#confirmed(fields.deliveryTag, fields.multiple, null));
      channel.on('nack', (fields) =>
        this.#confirmed(fields.deliveryTag, fields.multiple, {
          code: 'E_PUBLISH_FAILED',
          message: 'the broker refused the message (a full queue that rejects, or a failing queue process)',
          outcome: 'not-sent',
        }),
      );
      this.#low = this.#tag = 1;
      this.#channel = channel;
      this.#pump();
    } catch {
      if (!this.#closed && this.#link.model === model) this.#reopen(model);
    }
  }

  #reopen(model: ChannelModel): void {
    if (this.#closed) return;
    clearTimeout(this.#rebuild);
    this.#rebuild = setTimeout(() => void (this.#link.model === model && this.#open(model)), retryDelayMs(this.#tries));
    this.#tries += 1;
  }

  /** Writes what fits into the window. */
  #pump(): void {
    const channel = this.#channel;
    // Under an alarm the broker does not read: what we wrote would be of unknown fate, what we keep is known not to be sent.
    if (!channel || this.#link.blocked !== null) return;
    if (this.#head < this.#waiting.length) this.#link.gather();
    for (; this.#head < this.#waiting.length; this.#head += 1) {
      const batch = this.#waiting[this.#head]!;
      let index = -1;
      while (this.#tag - this.#low < WINDOW_MESSAGES && (this.#bytes < WINDOW_BYTES || this.#tag === this.#low)) {
        index = batch.take();
        if (index < 0) break;
        if (!this.#write(channel, batch, index)) return;
      }
      if (index >= 0 || !batch.exhausted) break; // the window is full
      batch.queued = false;
    }
    if (this.#head === this.#waiting.length || this.#head > WINDOW_MESSAGES) this.#compact();
  }

  /** Drops what was written or ended from the list; in steps, so that a long list costs little per message. */
  #compact(): void {
    this.#waiting = this.#head === this.#waiting.length ? [] : this.#waiting.slice(this.#head).filter((batch) => batch.left > 0);
    this.#head = 0;
    this.#dead = 0;
  }

  /** False when the channel has gone; its `close` event does the rest. */
  #write(channel: ConfirmChannel, batch: Batch, index: number): boolean {
    const message = batch.messages[index]!;
    try {
      send(channel, batch.state[index] === AGAIN ? { ...message, options: this.#again(message.options) } : message);
    } catch (error) {
      if ((error as Error).name === 'IllegalOperationError') {
        batch.again.push(index);
        return false;
      }
      this.#finish(batch, index, unwritable(error));
      return true;
    }
    const slot = this.#tag & (WINDOW_MESSAGES - 1);
    this.#slots[slot] = batch;
    this.#indexes[slot] = index;
    this.#tag += 1;
    this.#bytes += message.content.length;
    batch.state[index] = FLYING;
    return true;
  }

  #confirmed(tag: number, multiple: boolean, failure: PublishFailure | null): void {
    this.#tries = 0;
    if (multiple) for (let each = this.#low; each <= tag; each += 1) this.#settleTag(each, failure);
    else this.#settleTag(tag, failure);
    while (this.#low < this.#tag && !this.#slots[this.#low & (WINDOW_MESSAGES - 1)]) this.#low += 1;
    if (this.#waiting.length > 0) this.#pump();
  }

  #settleTag(tag: number, failure: PublishFailure | null): void {
    const slot = tag & (WINDOW_MESSAGES - 1);
    const batch = this.#slots[slot];
    if (!batch) return;
    this.#slots[slot] = undefined;
    const index = this.#indexes[slot]!;
    const message = batch.messages[index]!;
    this.#bytes -= message.content.length;
    this.#finish(batch, index, failure === null && batch.returned?.has(index) ? unroutable(message) : failure);
  }

  /** A return comes before the confirm of the same message but names no tag: it is the first in flight that looks the same. */
  #returned(returned: Message): void {
    for (let tag = this.#low; tag < this.#tag; tag += 1) {
      const slot = tag & (WINDOW_MESSAGES - 1);
      const batch = this.#slots[slot];
      if (!batch) continue;
      const index = this.#indexes[slot]!;
      if (batch.returned?.has(index) || !looksLike(batch.messages[index]!, returned)) continue;
      (batch.returned ??= new Set()).add(index);
      return;
    }
  }

  /** The channel or connection has gone. What the broker named as the reason fails; the rest is written again. */
  #lost(cause: Error): void {
    const channel = this.#channel;
    if (!channel) return;
    this.#channel = undefined;
    const culprit = culpritOf(cause);
    const first: Batch[] = [];
    for (let tag = this.#low; tag < this.#tag; tag += 1) {
      const slot = tag & (WINDOW_MESSAGES - 1);
      const batch = this.#slots[slot];
      if (!batch) continue;
      this.#slots[slot] = undefined;
      const index = this.#indexes[slot]!;
      if (batch.state[index] !== FLYING) continue;
      const failure = culprit?.(batch.messages[index]!) ?? null;
      if (failure) {
        this.#finish(batch, index, failure);
        continue;
      }
      batch.state[index] = AGAIN;
      batch.again.push(index);
      batch.returned?.delete(index);
      if (!batch.queued) {
        batch.queued = true;
        first.push(batch);
      }
    }
    // What was written first goes out first again; `again` is a stack, so it is reversed.
    this.#waiting = [...first, ...this.#waiting.slice(this.#head)];
    this.#head = 0;
    for (const batch of this.#waiting) batch.again.sort((a, b) => b - a);
    this.#bytes = 0;
    this.#low = this.#tag = 1;
  }

  #finish(batch: Batch, index: number, failure: PublishFailure | null): void {
    if (batch.state[index] === DONE) return;
    batch.state[index] = DONE;
    batch.results[index] = failure;
    batch.left -= 1;
    if (batch.left > 0) return;
    batch.detach?.();
    this.#active.delete(batch);
    batch.resolve(batch.results);
  }

  /** Ends a batch now: what was never written is known not to be sent. */
  #abort(batch: Batch, code: ErrorCode, message: string, cause?: unknown): void {
    const fresh: PublishFailure = { code, message, outcome: 'not-sent', cause };
    const written: PublishFailure = {
      code: code === 'E_BROKER_FULL' ? 'E_PUBLISH_TIMEOUT' : code,
      message,
      outcome: 'unknown',
      cause,
    };
    for (let index = 0; index < batch.messages.length; index += 1) {
      if (batch.state[index] !== DONE) this.#finish(batch, index, batch.state[index] === FRESH ? fresh : written);
    }
    // Without a connection nothing is written, so nothing else would take ended batches out of the list.
    if (batch.queued && ++this.#dead > WINDOW_MESSAGES && this.#dead * 2 > this.#waiting.length) this.#compact();
  }

  #arm(atMs: number): void {
    clearTimeout(this.#timer);
    this.#timerAtMs = atMs;
    this.#timer = setTimeout(() => this.#expire(), Math.max(atMs - performance.now(), 0) + 1);
  }

  #expire(): void {
    const now = performance.now();
    let next = Infinity;
    for (const batch of [...this.#active]) {
      if (batch.deadlineMs > now) {
        next = Math.min(next, batch.deadlineMs);
        continue;
      }
      const { blocked } = this.#link;
      if (blocked !== null)
        this.#abort(batch, 'E_BROKER_FULL', `the broker takes no messages (${blocked}) and did not recover within the deadline`);
      else if (this.#link.model) this.#abort(batch, 'E_PUBLISH_TIMEOUT', 'the broker did not confirm within the deadline');
      else this.#abort(batch, 'E_PUBLISH_TIMEOUT', 'there was no connection to the broker, or it was lost, until the deadline');
    }
    this.#timerAtMs = Infinity;
    if (this.#dead > 0) this.#compact();
    if (next < Infinity) this.#arm(next);
  }
}
