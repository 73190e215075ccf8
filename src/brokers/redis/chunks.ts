/**
 * The part of the publisher's outbox that waits to be written: commands under construction, one open for each place.
 * What is written and waits for its answer, and the bound on both, are in `publish.ts`.
 */
import { PRIORITY_SEPARATOR } from '../../wire/redis-envelope.js';
import { ARGUMENTS_EACH, delayedCommand } from './delayed.js';
import type { RedisKeys } from './keys.js';
import { type Chunk, emptyChunk } from './outbox.js';

/** One command holds at most so many messages and about so many bytes. */
const CHUNK_MESSAGES = 512;
const CHUNK_BYTES = 512 * 1024;
/** Room for a few messages. */
const CHUNK_START_BYTES = 8 * 1024;

export class WaitingChunks {
  readonly #keys: RedisKeys;
  #chunks: Chunk[] = [];
  /** Those that take more, by their place; emptied whenever the chunks are taken. */
  readonly #open = new Map<string, Chunk>();
  /** What a command took lately: the first guess for the next, so that it need not grow. */
  #usualBytes = CHUNK_START_BYTES;

  constructor(keys: RedisKeys) {
    this.#keys = keys;
  }

  get isEmpty(): boolean {
    return this.#chunks.length === 0;
  }

  /** The command that is open for a list or, with `delayedFor`, for what will come to it from the delay set of that queue. */
  openFor(list: string, delayedFor: string | null): Chunk {
    // no list is named so, see `checkQueueName`
    const place = delayedFor === null ? list : `${list}${PRIORITY_SEPARATOR}delayed`;
    let chunk = this.#open.get(place);
    if (chunk && chunk.starts.length < CHUNK_MESSAGES && chunk.writer.length < CHUNK_BYTES) return chunk;
    const bytes = chunk ? CHUNK_BYTES : this.#usualBytes;
    const key = this.#keys.prefix + list;
    chunk =
      delayedFor === null
        ? emptyChunk(place, ['lpush', key], 1, bytes)
        : emptyChunk(place, delayedCommand(this.#keys, delayedFor, key), ARGUMENTS_EACH, bytes);
    this.#open.set(place, chunk);
    this.#chunks.push(chunk);
    return chunk;
  }

  /** All of them, to be written now. */
  take(): readonly Chunk[] {
    const chunks = this.#chunks;
    this.#chunks = [];
    this.#open.clear();
    for (const { writer } of chunks)
      this.#usualBytes = Math.round(
        Math.min(CHUNK_BYTES, Math.max(CHUNK_START_BYTES, this.#usualBytes * 0.9, writer.length * 1.25)),
      );
    return chunks;
  }

  /** One that was taken and not written: in the order in which they were written first; what was never written comes after. */
  putBack(chunk: Chunk): void {
    const behind = this.#chunks.findIndex(({ number }) => number === 0 || number > chunk.number);
    this.#chunks.splice(behind < 0 ? this.#chunks.length : behind, 0, chunk);
  }

  /** Drops those that nobody waits for. */
  keep(isWanted: (chunk: Chunk) => boolean): void {
    this.#chunks = this.#chunks.filter((chunk) => {
      if (isWanted(chunk)) return true;
      if (this.#open.get(chunk.place) === chunk) this.#open.delete(chunk.place);
      return false;
    });
  }
}
