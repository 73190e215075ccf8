/**
 * Writes Redis commands as bytes (RESP). The client library joins a command as one long text and converts that; with
 * hundreds of arguments it costs more than making the messages did. Here each argument goes to its place at once.
 */

/** A command argument. Strings are cheapest. */
export type RedisArg = string | Buffer;

const SLAB_BYTES = 256 * 1024;
/** Room for a length and the ends of lines. */
const HEADER_BYTES = 24;
/** A UTF-16 unit takes at most so many bytes in UTF-8. */
const TEXT_BYTES = 3;
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
      this.#room(argument.length + HEADER_BYTES);
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
    this.#room(text.length * TEXT_BYTES + HEADER_BYTES);
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
  let size = 2 * HEADER_BYTES + name.length * TEXT_BYTES;
  for (const argument of args)
    size += HEADER_BYTES + (typeof argument === 'string' ? argument.length * TEXT_BYTES : argument.length);
  // A fresh slab rather than a grown one: growing would copy the commands before, which nobody needs there, and keep them for ever. So
  // this asks for all that the writer may ask for: with less, a slab that was nearly full grew, and the next one, twice as large, too.
  if (size > SLAB_BYTES) return write(new RespWriter(size), name, args);
  if (!slab.fits(size)) slab = new RespWriter(SLAB_BYTES);
  return write(slab, name, args);
}

function write(writer: RespWriter, name: string, args: readonly RedisArg[]): Buffer {
  const from = writer.length;
  writer.start(args.length + 1);
  writer.argument(name);
  for (const argument of args) writer.argument(argument);
  return writer.since(from);
}
