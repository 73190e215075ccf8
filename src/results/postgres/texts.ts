/** Any text as a value or a key of PostgreSQL, which refuses NUL in texts and long texts in indexes. */
import { createHash } from 'node:crypto';

/** NUL, and the character that we escape with. JSON has neither, so that escaping is rare. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these two are what it is about
const ODD = /[\0\x01]/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: what `encode` has made
const ENCODED = /\x01([\x02\x03])/g;
const ESCAPE = '\x01';

/** The text without NUL; `decode` gives it back. */
export function encode(text: string): string {
  if (!text.includes('\0') && !text.includes(ESCAPE)) return text;
  return text.replace(ODD, (odd) => (odd === '\0' ? '\x01\x03' : '\x01\x02'));
}

export function decode(text: string): string {
  if (!text.includes(ESCAPE)) return text;
  return text.replace(ENCODED, (_, kind: string) => (kind === '\x03' ? '\0' : ESCAPE));
}

/** An entry of an index has at most 2,704 bytes, and some of ours have two keys. */
const LONGEST_KEY = 1_000;

/** What stands in an index for a text: itself, or its hash behind a mark that `encode` never makes. */
export function keyOf(text: string): string {
  const encoded = encode(text);
  // three bytes at most for each unit of a string
  if (encoded.length * 3 <= LONGEST_KEY || Buffer.byteLength(encoded) <= LONGEST_KEY) return encoded;
  return `\x01\x04${createHash('sha256').update(encoded).digest('hex')}`;
}

/** The text beside its key, where the key does not tell it. */
export function nameOf(text: string, key: string): string | null {
  const encoded = encode(text);
  return encoded === key ? null : encoded;
}

/** How notifications name a key: so many hex digits of its hash, as the function `notify_results` makes them. */
export const HASH_LENGTH = 16;
export const hashOf = (key: string): string => createHash('sha256').update(key).digest('hex').slice(0, HASH_LENGTH);

/** Longer ones would not fit into a timestamp of PostgreSQL: thirty thousand years. */
const LONGEST_TTL_MS = 1e15;
/** A time to live as a parameter; `null` = for ever. */
export const ttlOf = (ttlMs: number | null): number | null =>
  ttlMs === null ? null : Math.min(Math.max(ttlMs, 1), LONGEST_TTL_MS);
