/**
 * Writes Redis commands as bytes (RESP). The client library joins a command as one long text and converts that; with
 * hundreds of arguments it costs more than making the messages did. Here each argument goes to its place at once.
 */

/** A command argument. Strings are cheapest. */
export type RedisArg = string | Buffer;

const SLAB_BYTES = 256 * 1024;
const DOLLAR = 36;
const CR = 13;
const LF = 10;

/** Bytes that grow at the end; what was taken from it stays valid. */
export class RespWriter {
  #buffer: Buffer;
  #at = 0;

  constructor(bytes: number) {
    this.#buffer = Buffer.allocUnsafeSlow(bytes);
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#at;
  }

  /** `*count`: what starts a command of so many arguments, its name included. */
  start(count: number): void {
    this.#room(16);
    this.#at += this.#buffer.write(`*${count}\r\n`, this.#at, 'latin1');
  }

  /** One argument with its length in front. */
  argument(argument: RedisArg): void {
    if (typeof argument === 'string') this.#text(argument);
    else {
      this.#room(argument.length + 24);
      this.#header(argument.length);
      this.#at += argument.copy(this.#buffer, this.#at);
      this.#end();
    }
  }

  /** What was written from a position on, up to another; the writer goes on behind it. */
  since(from: number, to: number = this.#at): Buffer {
    return this.#buffer.subarray(from, to);
  }

  /** Whether so many bytes fit without a move. */
  fits(bytes: number): boolean {
    return this.#buffer.length - this.#at >= bytes;
  }

  #text(text: string): void {
    // UTF-8 takes at most three bytes a UTF-16 unit
    this.#room(text.length * 3 + 24);
    const buffer = this.#buffer;
    const start = this.#at;
    this.#header(text.length);
    const from = this.#at;
    const written = buffer.write(text, from);
    this.#at = from + written;
    if (written !== text.length) this.#correct(start, from, written);
    this.#end();
  }

  /** The text was not ASCII: its length in bytes is another than in characters, perhaps with more digits. */
  #correct(start: number, from: number, written: number): void {
    const header = `$${written}\r\n`;
    this.#buffer.copyWithin(start + header.length, from, from + written);
    this.#buffer.write(header, start, 'latin1');
    this.#at = start + header.length + written;
  }

  #header(length: number): void {
    const buffer = this.#buffer;
    buffer[this.#at++] = DOLLAR;
    if (length < 10) buffer[this.#at++] = 48 + length;
    else this.#at += buffer.write(String(length), this.#at, 'latin1');
    buffer[this.#at++] = CR;
    buffer[this.#at++] = LF;
  }

  #end(): void {
    this.#buffer[this.#at++] = CR;
    this.#buffer[this.#at++] = LF;
  }

  #room(bytes: number): void {
    if (this.fits(bytes)) return;
    const bigger = Buffer.allocUnsafeSlow(Math.max(this.#buffer.length * 2, this.#at + bytes));
    this.#buffer.copy(bigger, 0, 0, this.#at);
    this.#buffer = bigger;
  }
}

let slab = new RespWriter(SLAB_BYTES);

/** A whole command. The bytes are not used again by anybody, so they may wait in a socket's queue. */
export function encodeCommand(name: string, args: readonly RedisArg[]): Buffer {
  let size = 64 + name.length;
  for (const argument of args) size += argument.length + 16;
  // a fresh slab rather than a grown one: growing would copy the commands before, which nobody needs there
  if (!slab.fits(size)) slab = new RespWriter(Math.max(SLAB_BYTES, size));
  const from = slab.length;
  slab.start(args.length + 1);
  slab.argument(name);
  for (const argument of args) slab.argument(argument);
  return slab.since(from);
}
