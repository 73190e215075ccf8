/**
 * Publishing to Redis: LPUSH of kombu envelopes. Everything that is sent within one turn of the event loop shares one
 * command a list, so a caller who sends one by one with many in flight pays for few commands.
 *
 * Owns the outbox: what waits to be written, what is written and waits for its answer, and deadlines for both.
 *
 * Each command is numbered, and the number is stored with it in one transaction (`lovage:sent:<sender>`, two minutes).
 * When a connection dies before the answer came, the next one reads the last number that was carried out: what is up to
 * it was sent, what is after it is sent again. So a broken connection neither loses nor doubles a message, and only a
 * deadline that passes in between leaves an outcome unknown.
 */
import { randomUUID } from 'node:crypto';
import { redisErrorCode, RedisLinkError } from '../../clients/redis.js';
import { encodeCommand, RespWriter } from '../../clients/resp.js';
import type { ErrorCode } from '../../core/error-codes.js';
import { codeOf, PublishError, toError, type SendOutcome } from '../../core/errors.js';
import { encodeEnvelope, queueKey, redisPriority } from '../../wire/redis-envelope.js';
import type { OutgoingMessage, PublishOptions, PublishResult } from '../broker.js';
import type { RedisLinks } from './connection.js';
import { bindingOf, checkQueueName } from './keys.js';

/** One command holds at most so many messages and about so many bytes. */
const CHUNK_MESSAGES = 512;
const CHUNK_BYTES = 512 * 1024;
/** Room for a few messages. */
const CHUNK_START_BYTES = 8 * 1024;
/** A big batch is encoded step by step, so that it never stands in memory twice. */
const STEP_MESSAGES = 2_048;
/** Beyond this nothing more is accepted until something left: without a broker a sender could fill the memory within its deadline. */
const OUTBOX_MESSAGES = 100_000;
const OUTBOX_BYTES = 256 * 1024 * 1024;
/** How long a sender's number is kept after its last command, and how long it is trusted. */
const NUMBER_TTL_S = '120';
const NUMBER_TRUSTED_MS = 60_000;
/** Names remembered as bound on this connection. */
const BOUND_NAMES = 10_000;

/** One publish() call. */
interface Batch {
  readonly messages: readonly OutgoingMessage[];
  readonly results: PublishResult[];
  readonly deadlineMs: number;
  left: number;
  /** Over: aborted or past its deadline. What is still in the outbox is skipped. */
  isOver: boolean;
  /** For each message: 0 waits, 1 written, 2 settled. */
  readonly states: number[];
  finish(): void;
}

/**
 * Messages for one list, as the arguments of one LPUSH: written as bytes at once, and their owners beside them as
 * parallel arrays, because an object a message would cost more than the message.
 */
interface Chunk {
  readonly list: string;
  readonly writer: RespWriter;
  /** Where each message starts in the writer. */
  readonly starts: number[];
  readonly batches: Batch[];
  readonly positions: number[];
  /** The number of the command that carried it, and when the answer to that was lost. */
  number: number;
  lostAtMs: number;
}

export class RedisPublisher {
  readonly #links: RedisLinks;
  #waiting: Chunk[] = [];
  readonly #open = new Map<string, Chunk>();
  readonly #batches = new Set<Batch>();
  readonly #bound = new Map<string, readonly [key: string, member: string]>();
  readonly #unbound = new Set<string>();
  readonly #numberKey: string;
  #number = 0;
  /** Written, and the connection died before the answer. */
  #uncertain: Chunk[] = [];
  #isResolving = false;
  #count = 0;
  #bytes = 0;
  /** What a command took lately: the first guess for the next, so that it need not grow. */
  #usualBytes = CHUNK_START_BYTES;
  #flushPlanned = false;
  #timer: NodeJS.Timeout | undefined;
  #timerAtMs = Infinity;

  constructor(links: RedisLinks) {
    this.#links = links;
    this.#numberKey = `${links.keys.prefix}lovage:sent:${randomUUID()}`;
    links.onUp(() => {
      // the server may have been emptied since
      for (const name of this.#bound.keys()) this.#unbound.add(name);
      void this.#resolve();
    });
  }

  async publish(messages: readonly OutgoingMessage[], options: PublishOptions): Promise<readonly PublishResult[]> {
    const { signal } = options;
    if (messages.length === 0) return [];
    if (signal?.aborted) return messages.map((message) => notSent('E_PUBLISH_FAILED', 'the send was aborted before anything was sent', message, signal.reason));
    this.#links.commands.open();
    let finish = (): void => {};
    const finished = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const batch: Batch = {
      messages,
      results: new Array<PublishResult>(messages.length).fill(null),
      deadlineMs: performance.now() + options.timeoutMs,
      left: messages.length,
      isOver: false,
      states: new Array<number>(messages.length).fill(0),
      finish,
    };
    this.#batches.add(batch);
    this.#armTimer(batch.deadlineMs);
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
    clearTimeout(this.#timer);
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
    const { to, priority } = outgoing;
    let { message } = outgoing;
    if (priority !== undefined) message = { ...message, properties: { ...message.properties, priority: redisPriority(priority) } };
    const exchange = to.exchange ?? '';
    const routingKey = to.routingKey ?? to.queue;
    let envelope: string;
    try {
      this.#bind(exchange, routingKey, to.queue);
      envelope = encodeEnvelope(message, { exchange, routingKey, deliveryTag: randomUUID() });
    } catch (error) {
      return this.#settle(batch, position, notSent('E_PUBLISH_FAILED', toError(error).message, outgoing, error));
    }
    const list = this.#links.keys.prefix + queueKey(to.queue, message.properties.priority ?? 0);
    let chunk = this.#open.get(list);
    if (!chunk || chunk.starts.length >= CHUNK_MESSAGES || chunk.writer.length >= CHUNK_BYTES) {
      chunk = { list, writer: new RespWriter(chunk ? CHUNK_BYTES : this.#usualBytes), starts: [], batches: [], positions: [], number: 0, lostAtMs: 0 };
      this.#open.set(list, chunk);
      this.#waiting.push(chunk);
    }
    const start = chunk.writer.length;
    chunk.starts.push(start);
    chunk.batches.push(batch);
    chunk.positions.push(position);
    chunk.writer.argument(envelope);
    this.#count += 1;
    this.#bytes += chunk.writer.length - start;
    this.#planFlush();
  }

  /** Names are checked, and their binding planned, once a connection. */
  #bind(exchange: string, routingKey: string, queue: string): void {
    if (this.#bound.size > BOUND_NAMES) this.#bound.clear();
    const name = exchange === '' && routingKey === queue ? queue : `${exchange}\n${routingKey}\n${queue}`;
    if (this.#bound.has(name)) return;
    checkQueueName(queue);
    this.#bound.set(name, bindingOf(this.#links.keys.prefix, exchange || queue, routingKey, queue));
    this.#unbound.add(name);
  }

  /** Only kombu's own routing reads bindings; a refusal (full memory) is told by the LPUSH that follows. */
  #writeBindings(): void {
    for (const name of this.#unbound) {
      const binding = this.#bound.get(name);
      if (binding) this.#links.commands.call('sadd', binding).catch(() => this.#bound.delete(name));
    }
    this.#unbound.clear();
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
    if (!this.#links.commands.isReady || this.#waiting.length === 0 || this.#isResolving) return;
    if (this.#unbound.size > 0) this.#writeBindings();
    const chunks = this.#waiting;
    this.#waiting = [];
    this.#open.clear();
    for (const chunk of chunks) {
      this.#usualBytes = Math.round(Math.min(CHUNK_BYTES, Math.max(CHUNK_START_BYTES, this.#usualBytes * 0.9, chunk.writer.length * 1.25)));
      void this.#write(chunk);
    }
  }

  async #write(chunk: Chunk): Promise<void> {
    const parts = lpush(chunk);
    if (parts === null) return this.#finish(chunk, null);
    this.#number += 1;
    chunk.number = this.#number;
    try {
      const number = encodeCommand('set', [this.#numberKey, String(chunk.number), 'ex', NUMBER_TTL_S]);
      await this.#links.commands.transaction([
        { name: 'lpush', parts },
        { name: 'set', parts: [number] },
      ]);
      this.#finish(chunk, null);
    } catch (error) {
      if (!(error instanceof RedisLinkError)) this.#finish(chunk, refusalOf(error));
      else if (!error.sent) this.#again(chunk);
      else {
        chunk.lostAtMs = performance.now();
        this.#uncertain.push(chunk);
      }
    }
  }

  #finish(chunk: Chunk, failure: Failure | null): void {
    const { batches, positions } = chunk;
    this.#forget(chunk);
    for (let at = 0; at < batches.length; at += 1) {
      const batch = batches[at] as Batch;
      if (batch.isOver) continue;
      const position = positions[at] as number;
      this.#settle(batch, position, failure && publishError(failure.code, failure.outcome, failure.error.message, batch.messages[position], failure.error));
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
        const last = Number(String((await this.#links.commands.call('get', [this.#numberKey])) ?? 0));
        for (const chunk of this.#uncertain.splice(0).reverse()) this.#decide(chunk, last);
      } catch (error) {
        // Another lost connection: the one after it asks again. A refusal tells nothing.
        if (!(error instanceof RedisLinkError)) for (const chunk of this.#uncertain.splice(0)) this.#finish(chunk, unknownBecause(error));
      } finally {
        this.#isResolving = false;
      }
    }
    this.#planFlush();
  }

  #decide(chunk: Chunk, last: number): void {
    if (chunk.number <= last) return this.#finish(chunk, null);
    const isTold = this.#links.commands.isPredecessorGone && performance.now() - chunk.lostAtMs < NUMBER_TRUSTED_MS;
    if (isTold) this.#again(chunk);
    else this.#finish(chunk, unknownBecause(new Error('the connection was lost, and the server cannot tell what was carried out')));
  }

  /** Nothing of it was written: back into the outbox, in front, for the next connection or until its deadlines. */
  #again(chunk: Chunk): void {
    for (let at = 0; at < chunk.batches.length; at += 1) {
      const batch = chunk.batches[at] as Batch;
      const position = chunk.positions[at] as number;
      if (batch.states[position] === 1) batch.states[position] = 0;
    }
    this.#waiting.unshift(chunk);
    this.#dropOver();
    if (this.#links.commands.isReady) this.#planFlush();
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
      if (state !== 2) this.#settle(batch, at, publishError(code, state === 1 ? 'unknown' : 'not-sent', message, batch.messages[at], cause));
    }
    this.#dropOver();
  }

  /** Takes chunks out of the outbox that nobody waits for any more: during an outage nothing else empties it. */
  #dropOver(): void {
    const isWanted = (chunk: Chunk): boolean => {
      if (!chunk.batches.every((batch) => batch.isOver)) return true;
      this.#forget(chunk);
      if (this.#open.get(chunk.list) === chunk) this.#open.delete(chunk.list);
      return false;
    };
    this.#waiting = this.#waiting.filter(isWanted);
    this.#uncertain = this.#uncertain.filter(isWanted);
  }

  /** One timer for all batches: at the earliest deadline it looks through what is open. */
  #armTimer(atMs: number): void {
    if (atMs >= this.#timerAtMs) return;
    clearTimeout(this.#timer);
    this.#timerAtMs = atMs;
    this.#timer = setTimeout(
      () => {
        this.#timerAtMs = Infinity;
        const nowMs = performance.now();
        let nextMs = Infinity;
        for (const batch of this.#batches) {
          if (batch.deadlineMs <= nowMs) this.#giveUp(batch, 'E_PUBLISH_TIMEOUT', `not confirmed by ${this.#links.target.label} within the time given to send()`);
          else nextMs = Math.min(nextMs, batch.deadlineMs);
        }
        if (nextMs < Infinity) this.#armTimer(nextMs);
      },
      Math.max(0, Math.ceil(atMs - performance.now())),
    );
  }
}

/** The LPUSH of what somebody still waits for, marked as written; `null` if nobody does. */
function lpush({ list, writer, starts, batches, positions }: Chunk): Buffer[] | null {
  const parts: Buffer[] = [];
  let count = 0;
  let from = -1;
  for (let at = 0; at < starts.length; at += 1) {
    const batch = batches[at] as Batch;
    if (batch.isOver) {
      if (from >= 0) parts.push(writer.since(from, starts[at]));
      from = -1;
      continue;
    }
    batch.states[positions[at] as number] = 1;
    count += 1;
    if (from < 0) from = starts[at] as number;
  }
  if (from >= 0) parts.push(writer.since(from));
  if (count === 0) return null;
  const head = new RespWriter(64 + list.length * 3);
  head.start(count + 2);
  head.argument('lpush');
  head.argument(list);
  parts.unshift(head.since(0));
  return parts;
}

interface Failure {
  readonly code: ErrorCode;
  readonly outcome: SendOutcome;
  readonly error: Error;
}

function unknownBecause(error: unknown): Failure {
  return { code: 'E_CONNECTION_LOST', outcome: 'unknown', error: toError(error) };
}

/** Redis answered, so nothing was written. */
function refusalOf(thrown: unknown): Failure {
  const error = toError(thrown);
  const code = redisErrorCode(error);
  if (code === undefined) return { code: codeOf(error) ?? 'E_PUBLISH_FAILED', outcome: 'unknown', error };
  if (code === 'OOM') return { code: 'E_BROKER_FULL', outcome: 'not-sent', error };
  if (code === 'NOAUTH' || code === 'NOPERM') return { code: 'E_BROKER_AUTH', outcome: 'not-sent', error };
  return { code: 'E_PUBLISH_FAILED', outcome: 'not-sent', error };
}

function publishError(code: ErrorCode, outcome: SendOutcome, message: string, outgoing: OutgoingMessage | undefined, cause?: unknown): PublishError {
  const id = outgoing?.message.headers.id;
  return new PublishError(code, message, { outcome, taskId: typeof id === 'string' ? id : undefined, cause });
}

function notSent(code: ErrorCode, message: string, outgoing: OutgoingMessage, cause?: unknown): PublishError {
  return publishError(code, 'not-sent', message, outgoing, cause);
}
