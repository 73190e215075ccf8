/**
 * JSON text as Python writes it, to values: integers beyond 2^53 become `bigint`, bare `NaN` and `Infinity` are read,
 * kombu's typed values become what they were. Writing is `json-encode.ts`.
 *
 * Text in which nothing special can be hidden goes to JSON.parse; the rest to a parser of our own, 10 to 20 times slower.
 */
import { isUtf8 } from 'node:buffer';
import { WireError } from '../../core/errors.js';
import { parseIsoMs } from '../iso-time.js';
import { WireDate, WireDecimal, WireTime, WireUuid } from '../typed-values.js';
import { MAX_DEPTH, MAX_INTEGER_DIGITS } from './json-encode.js';

export interface DecodeJsonLimits {
  /** How deep arrays and objects may be nested. @defaultValue `200` */
  readonly maxDepth?: number;
  /** Whether kombu's typed values are turned into what they stand for. @defaultValue `true` */
  readonly typed?: boolean;
}

/** Integers of 16 digits and more stand behind one of these characters; digits of fractions and of text do not. */
const LONG_INTEGER = /[\s[,:-]\d{16}/;

/**
 * The value of a JSON text.
 *
 * Keys named `__proto__` are refused: no honest sender uses them, and code that merges objects is harmed by them.
 * `constructor` and the like become ordinary own properties. An object with an unknown `__type__` stays an object.
 * `datetime` becomes a `Date`: microseconds are cut, and a time without offset is read as UTC. `1` and `1.0` are the same
 * number here, as JavaScript has one number type.
 * @throws WireError `E_DECODE`, never anything else
 */
export function decodeJson(text: string, limits?: DecodeJsonLimits): unknown {
  const maxDepth = limits?.maxDepth ?? MAX_DEPTH;
  // n levels need n openers and n closers
  const hasLongInteger = text.length >= 2 * maxDepth ? checkDepth(text, maxDepth) : LONG_INTEGER.test(text);
  if (hasLongInteger || hasSpecials(text)) return parseLossless(text, maxDepth, limits?.typed ?? true);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new WireError('E_DECODE', `not JSON: ${cause instanceof Error ? cause.message.slice(0, 200) : 'unreadable'}`, {
      cause,
    });
  }
}

/** Whether JSON.parse alone could fail on, round or misread this text. Fixed strings first: they are found at memory speed. */
function hasSpecials(text: string): boolean {
  return (
    text.includes('__') ||
    text.includes('NaN') ||
    text.includes('Infinity') ||
    text.includes('\\u005') ||
    isDigit(text.charCodeAt(0))
  );
}

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57;
}

/**
 * One pass before parsing: a body of a million brackets must cost nothing but this loop. Tells whether there is a number of
 * 16 digits in a row that are no fraction, while it is at it.
 */
function checkDepth(text: string, maxDepth: number): boolean {
  let depth = 0;
  let hasLongInteger = false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 34) {
      i = stringEnd(text, i);
      if (i < 0) return true; // no closing quote: our parser says where
    } else if (code === 91 || code === 123) {
      if (++depth > maxDepth) throw new WireError('E_DECODE', `nested more than ${maxDepth} levels deep`);
    } else if (code === 93 || code === 125) depth--;
    else if (isDigit(code)) {
      const start = i;
      while (isDigit(text.charCodeAt(i + 1))) i++;
      if (i - start >= 15 && text.charCodeAt(start - 1) !== 46) hasLongInteger = true;
    }
  }
  return hasLongInteger;
}

/** Index of the quote that closes the string opened at `open`, or -1. Most strings are short; for long ones a search is faster. */
function stringEnd(text: string, open: number): number {
  const near = Math.min(open + 48, text.length);
  for (let i = open + 1; i < near; i++) {
    const code = text.charCodeAt(i);
    if (code === 34) return i;
    if (code === 92) i++;
  }
  for (let end = text.indexOf('"', open + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let slashes = 0;
    while (text.charCodeAt(end - 1 - slashes) === 92) slashes++;
    if (slashes % 2 === 0) return end;
  }
  return -1;
}

const NUMBER = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y;
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON forbids raw control characters in strings
const CONTROL = /[\u0000-\u001f]/;

function parseLossless(text: string, maxDepth: number, typed: boolean): unknown {
  let at = 0;

  const fail = (what: string): WireError => new WireError('E_DECODE', `not JSON: ${what} at character ${at}`);

  const skipBlanks = (): number => {
    for (;;) {
      const code = text.charCodeAt(at);
      if (code !== 32 && code !== 10 && code !== 13 && code !== 9) return code;
      at++;
    }
  };

  const readString = (): string => {
    const end = stringEnd(text, at);
    if (end < 0) throw fail('unclosed string');
    const raw = text.slice(at + 1, end);
    if (CONTROL.test(raw)) throw fail('control character in a string');
    if (raw.includes('\\')) {
      try {
        const value = JSON.parse(text.slice(at, end + 1)) as string;
        at = end + 1;
        return value;
      } catch {
        throw fail('bad escape in a string');
      }
    }
    at = end + 1;
    return raw;
  };

  const readNumber = (): number | bigint => {
    NUMBER.lastIndex = at;
    const match = NUMBER.exec(text);
    if (!match) throw fail('unexpected character');
    const digits = match[0];
    at += digits.length;
    if (match[1] !== undefined || match[2] !== undefined || digits.length < 16) return Number(digits);
    const value = Number(digits);
    if (Number.isSafeInteger(value)) return value;
    if (digits.length > MAX_INTEGER_DIGITS) throw fail(`integer of more than ${MAX_INTEGER_DIGITS} digits`);
    return BigInt(digits);
  };

  const readWord = <T>(word: string, value: T): T => {
    if (!text.startsWith(word, at)) throw fail('unexpected character');
    at += word.length;
    return value;
  };

  const readArray = (depth: number): unknown[] => {
    const items: unknown[] = [];
    at++;
    if (skipBlanks() === 93) {
      at++;
      return items;
    }
    for (;;) {
      items.push(readValue(depth));
      const code = skipBlanks();
      if (code !== 44 && code !== 93) throw fail('expected , or ]');
      at++;
      if (code === 93) return items;
    }
  };

  const readObject = (depth: number): unknown => {
    const object: Record<string, unknown> = {};
    let members = 0;
    let hasType = false;
    at++;
    if (skipBlanks() === 125) {
      at++;
      return object;
    }
    for (;;) {
      if (skipBlanks() !== 34) throw fail('expected a key');
      const key = readString();
      if (key === '__proto__') throw new WireError('E_DECODE', `refused: a key named __proto__ before character ${at}`);
      if (key === '__type__') hasType = true;
      if (skipBlanks() !== 58) throw fail('expected :');
      at++;
      object[key] = readValue(depth);
      members++;
      const code = skipBlanks();
      if (code !== 44 && code !== 125) throw fail('expected , or }');
      at++;
      if (code === 125) return hasType && typed && members === 2 ? fromTagged(object) : object;
    }
  };

  const readValue = (depth: number): unknown => {
    const code = skipBlanks();
    switch (code) {
      case 34:
        return readString();
      case 91:
      case 123:
        if (depth >= maxDepth) throw new WireError('E_DECODE', `nested more than ${maxDepth} levels deep`);
        return code === 91 ? readArray(depth + 1) : readObject(depth + 1);
      case 116:
        return readWord('true', true);
      case 102:
        return readWord('false', false);
      case 110:
        return readWord('null', null);
      case 78:
        return readWord('NaN', Number.NaN);
      case 73:
        return readWord('Infinity', Number.POSITIVE_INFINITY);
      case 45:
        return text.charCodeAt(at + 1) === 73 ? readWord('-Infinity', Number.NEGATIVE_INFINITY) : readNumber();
      default:
        return readNumber();
    }
  };

  const value = readValue(0);
  skipBlanks();
  if (at < text.length) throw fail('something follows the value');
  return value;
}

/** What a `{__type__, __value__}` object stands for; the object itself when it is no typed value that we know. */
function fromTagged(object: Record<string, unknown>): unknown {
  const type = object.__type__;
  const value = object.__value__;
  if (type === 'uuid') {
    const hex = typeof value === 'object' && value !== null ? (value as { hex?: unknown }).hex : value;
    return typeof hex === 'string' && WireUuid.fits(hex) ? new WireUuid(hex) : object;
  }
  if (typeof value !== 'string') return object;
  switch (type) {
    case 'datetime': {
      const ms = parseIsoMs(value);
      return ms === null ? object : new Date(ms);
    }
    case 'date':
      return WireDate.fits(value) ? new WireDate(value) : object;
    case 'time':
      return WireTime.fits(value) ? new WireTime(value) : object;
    case 'decimal':
      return WireDecimal.fits(value) ? new WireDecimal(value) : object;
    case 'bytes':
      return new Uint8Array(Buffer.from(value, 'utf8'));
    case 'base64':
      return new Uint8Array(Buffer.from(value, 'base64'));
    default:
      return object;
  }
}

/** Strict UTF-8 to text. @throws WireError `E_DECODE` when the bytes are no UTF-8 */
export function textOfUtf8(bytes: Uint8Array): string {
  if (!isUtf8(bytes)) throw new WireError('E_DECODE', 'the bytes are not UTF-8');
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
}
