/**
 * Publishing to Redis: LPUSH of kombu envelopes, or the delay set for those with a time. Everything that is sent within one turn
 * of the event loop shares one command a list, so a caller who sends one by one with many in flight pays for few commands.
 *
 * Owns the outbox: what waits to be written, what is written and waits for its answer, and deadlines for both.
 *
 * Each command is numbered, and the number is stored with it in one transaction (`lovage:sent:<sender>`, two minutes).
 * When a connection dies before the answer came, the next one reads the last number that was carried out: what is up to
 * it was sent, what is after it is sent again. So a broken connection neither loses nor doubles a message, and only a
 * deadline that passes in between leaves an outcome unknown.
 */
import { randomUUID } from 'node:crypto';
import { RedisLinkError } from '../../clients/redis.js';
import { encodeCommand } from '../../clients/resp.js';
import type { ErrorCode } from '../../core/error-codes.js';
import { toError } from '../../core/errors.js';
import type { OutgoingMessage, PublishOptions, PublishResult } from '../broker.js';
import { RedisBindings } from './bindings.js';
import { WaitingChunks } from './chunks.js';
import type { RedisLinks } from './connection.js';
import { DeadlineTimer } from './deadlines.js';
import {
  type Batch,
  type Chunk,
  commandOf,
  type Failure,
  newBatch,
  notSent,
  publishError,
  refusalOf,
  unknownBecause,
} from './outbox.js';
import { isDelayed, type Placed, place } from './place.js';
import { Replication } from './replication.js';
import { delayedMember, delayedTask } from './scripts/delayed-member.js';

/** A big batch is encoded step by step, so that it never stands in memory twice. */
const STEP_MESSAGES = 2_048;
/** Beyond this nothing more is accepted until something left: without a broker a sender could fill the memory within its deadline. */
const OUTBOX_MESSAGES = 100_000;
const OUTBOX_BYTES = 256 * 1024 * 1024;
/** How long a sender's number is kept after its last command, and how long it is trusted. */
const NUMBER_TTL_S = '120';
const NUMBER_TRUSTED_MS = 60_000;

export class RedisPublisher {
  readonly #links: RedisLinks;
  readonly #waiting: WaitingChunks;
  readonly #batches = new Set<Batch>();
  readonly #bindings: RedisBindings;
  readonly #numberKey: string;
  #number = 0;
  /** Written, and the connection died before the answer. */
  #uncertain: Chunk[] = [];
  #isResolving = false;
  #count = 0;
  #bytes = 0;
  #flushPlanned = false;
  readonly #replication: Replication;
  readonly #deadlines = new DeadlineTimer((nowMs) => this.#giveUpLate(nowMs));

  constructor(links: RedisLinks) {
    this.#links = links;
    this.#waiting = new WaitingChunks(links.keys);
    this.#bindings = new RedisBindings(links);
    this.#numberKey = `${links.keys.prefix}lovage:sent:${randomUUID()}`;
    this.#replication = new Replication(links, {
      onDone: (chunk) => this.#finish(chunk, null),
      onUnwanted: (chunk) => this.#forget(chunk),
      onLost: (chunk) => this.#doubt(chunk),
      onRefused: (chunk, error) => this.#finish(chunk, unknownBecause(error)),
    });
    links.onSendingUp(() => {
      this.#bindings.renew();
      void this.#resolve();
    });
  }

  async publish(messages: readonly OutgoingMessage[], options: PublishOptions): Promise<readonly PublishResult[]> {
    const { signal } = options;
    if (messages.length === 0) return [];
    if (signal?.aborted)
      return messages.map((message) =>
        notSent('E_PUBLISH_FAILED', 'the send was aborted before anything was sent', message, signal.reason),
      );
    this.#links.sending.open();
    const { batch, finished } = newBatch(messages, options.timeoutMs);
    this.#batches.add(batch);
    this.#deadlines.ringBy(batch.deadlineMs);
    const onAbort = (): void => this.#giveUp(batch, 'E_PUBLISH_FAILED', 'the send was aborted', signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    for (let at = 0; at < messages.length && !batch.isOver; at += 1) {
      if (at > 0 && at % STEP_MESSAGES === 0) await this.#room(batch);
      if (!batch.isOver) this.#add(batch, at);
    }
    if (batch.left > 0) await finished;
    signal?.removeEventListener('abort', onAbort);
    this.#batches.delete(batch);
    return batch.results;
  }

  /** Fails whatever waits; called when the broker closes. */
  close(): void {
    for (const batch of this.#batches) this.#giveUp(batch, 'E_CLOSED', 'the broker was closed before the message was confirmed');
    this.#deadlines.stop();
  }

  /** Between the steps of a big batch: lets the loop turn, and waits while much is under way. */
  async #room(batch: Batch): Promise<void> {
    do {
      await new Promise((resolve) => setImmediate(resolve));
    } while (!batch.isOver && this.#count > 4 * STEP_MESSAGES);
  }

  #add(batch: Batch, position: number): void {
    const outgoing = batch.messages[position] as OutgoingMessage;
    if (this.#count >= OUTBOX_MESSAGES || this.#bytes >= OUTBOX_BYTES) {
      const message = `${this.#count} messages wait for ${this.#links.target.label} already: send again when it answers`;
      return this.#settle(batch, position, notSent('E_BROKER_FULL', message, outgoing));
    }
    let placed: Placed;
    try {
      placed = place(outgoing, this.#bindings);
    } catch (error) {
      return this.#settle(batch, position, notSent('E_PUBLISH_FAILED', toError(error).message, outgoing, error));
    }
    const { to, notBeforeMs = 0 } = outgoing;
    const { list, envelope, deliveryTag } = placed;
    const waits = isDelayed(outgoing);
    const chunk = this.#waiting.openFor(list, waits ? to.queue : null);
    const start = chunk.writer.length;
    chunk.starts.push(start);
    chunk.batches.push(batch);
    chunk.positions.push(position);
    if (waits) {
      chunk.writer.argument(String(Math.ceil(notBeforeMs)));
      chunk.writer.argument(delayedMember(deliveryTag, list, delayedTask(outgoing.message.headers), envelope));
    } else chunk.writer.argument(envelope);
    this.#count += 1;
    this.#bytes += chunk.writer.length - start;
    this.#planFlush();
  }

  #planFlush(): void {
    if (this.#flushPlanned) return;
    this.#flushPlanned = true;
    process.nextTick(() => {
      this.#flushPlanned = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (!this.#links.sending.isReady || this.#waiting.isEmpty || this.#isResolving) return;
    this.#bindings.write();
    for (const chunk of this.#waiting.take()) void this.#write(chunk);
  }

  async #write(chunk: Chunk): Promise<void> {
    const command = commandOf(chunk);
    if (command === null) return this.#finish(chunk, null);
    this.#number += 1;
    chunk.number = this.#number;
    try {
      const number = encodeCommand('set', [this.#numberKey, String(chunk.number), 'ex', NUMBER_TTL_S]);
      await this.#links.sending.transaction([command, { name: 'set', parts: [number] }]);
      this.#written(chunk);
    } catch (error) {
      if (!(error instanceof RedisLinkError)) this.#finish(chunk, refusalOf(error));
      else if (!error.sent) this.#again(chunk);
      else this.#doubt(chunk);
    }
  }

  #written(chunk: Chunk): void {
    if (this.#links.target.waitReplicas > 0) this.#replication.add(chunk);
    else this.#finish(chunk, null);
  }

  /** Whether it is there is told by the next connection. */
  #doubt(chunk: Chunk): void {
    chunk.lostAtMs = performance.now();
    this.#uncertain.push(chunk);
  }

  #finish(chunk: Chunk, failure: Failure | null): void {
    const { batches, positions } = chunk;
    this.#forget(chunk);
    for (let at = 0; at < batches.length; at += 1) {
      const batch = batches[at] as Batch;
      if (batch.isOver) continue;
      const position = positions[at] as number;
      this.#settle(
        batch,
        position,
        failure && publishError(failure.code, failure.outcome, failure.error.message, batch.messages[position], failure.error),
      );
    }
  }

  #forget(chunk: Chunk): void {
    this.#count -= chunk.starts.length;
    this.#bytes -= chunk.writer.length;
  }

  /** On a new connection: what became of the commands whose answers were lost, then go on. */
  async #resolve(): Promise<void> {
    if (this.#uncertain.length > 0) {
      this.#isResolving = true;
      try {
        const last = Number(String((await this.#links.sending.call('get', [this.#numberKey])) ?? 0));
        // a WAIT speaks of what its own connection wrote: this write comes after all that is in doubt
        if (this.#links.target.waitReplicas > 0 && last > 0)
          await this.#links.sending.call('set', [this.#numberKey, String(last), 'ex', NUMBER_TTL_S]);
        for (const chunk of this.#uncertain.splice(0)) this.#decide(chunk, last);
      } catch (error) {
        // Another lost connection: the one after it asks again. A refusal tells nothing.
        if (!(error instanceof RedisLinkError))
          for (const chunk of this.#uncertain.splice(0)) this.#finish(chunk, unknownBecause(error));
      } finally {
        this.#isResolving = false;
      }
    }
    this.#planFlush();
  }

  #decide(chunk: Chunk, last: number): void {
    if (chunk.number <= last) return this.#written(chunk);
    const isTold = this.#links.sending.isPredecessorGone && performance.now() - chunk.lostAtMs < NUMBER_TRUSTED_MS;
    if (isTold) this.#again(chunk);
    else
      this.#finish(chunk, unknownBecause(new Error('the connection was lost, and the server cannot tell what was carried out')));
  }

  /** Nothing of it was written: back into the outbox, for the next connection or until its deadlines. */
  #again(chunk: Chunk): void {
    for (let at = 0; at < chunk.batches.length; at += 1) {
      const batch = chunk.batches[at] as Batch;
      const position = chunk.positions[at] as number;
      if (batch.states[position] === 1) batch.states[position] = 0;
    }
    this.#waiting.putBack(chunk);
    this.#dropOver();
    if (this.#links.sending.isReady) this.#planFlush();
  }

  #settle(batch: Batch, position: number, result: PublishResult): void {
    if (batch.states[position] === 2) return;
    batch.states[position] = 2;
    if (result !== null) batch.results[position] = result;
    batch.left -= 1;
    if (batch.left === 0) batch.finish();
  }

  #giveUp(batch: Batch, code: ErrorCode, message: string, cause?: unknown): void {
    if (batch.isOver) return;
    batch.isOver = true;
    for (let at = 0; at < batch.states.length; at += 1) {
      const state = batch.states[at];
      if (state !== 2)
        this.#settle(batch, at, publishError(code, state === 1 ? 'unknown' : 'not-sent', message, batch.messages[at], cause));
    }
    this.#dropOver();
  }

  /** Takes chunks out of the outbox that nobody waits for any more: during an outage nothing else empties it. */
  #dropOver(): void {
    const isWanted = (chunk: Chunk): boolean => {
      if (!chunk.batches.every((batch) => batch.isOver)) return true;
      this.#forget(chunk);
      return false;
    };
    this.#waiting.keep(isWanted);
    this.#uncertain = this.#uncertain.filter(isWanted);
  }

  /** Gives the next deadline. */
  #giveUpLate(nowMs: number): number {
    let nextMs = Infinity;
    for (const batch of this.#batches) {
      if (batch.deadlineMs <= nowMs) this.#giveUp(batch, 'E_PUBLISH_TIMEOUT', this.#whyLate(), this.#links.sending.lastError);
      else nextMs = Math.min(nextMs, batch.deadlineMs);
    }
    return nextMs;
  }

  #whyLate(): string {
    const { sending, target } = this.#links;
    const why = sending.isReady ? this.#replication.shortage : (sending.lastError?.message ?? '');
    return `not confirmed by ${target.label} within the time given to send()${why === '' ? '' : `: ${why}`}`;
  }
}
