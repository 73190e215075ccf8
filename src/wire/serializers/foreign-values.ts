/**
 * Values on their way to and from msgpack and yaml, whose libraries have types of their own. Both formats have numbers,
 * texts, bytes, arrays and maps; what else `encodeJson` takes becomes text here, as Python's own serializers want it.
 */
import { ArgumentError, WireError } from '../../core/errors.js';
import { isoFromMs } from '../iso-time.js';
import { WireDate, WireDecimal, WireTime, WireUuid } from '../typed-values.js';
import { encodeJson, MAX_DEPTH } from './json-encode.js';

/**
 * A copy of the value made of what msgpack and yaml know. Dates and typed wrappers become text, as Celery 5.2 writes them.
 * @throws ArgumentError `E_NOT_SERIALISABLE` for whatever `encodeJson` refuses
 */
export function toForeign(value: unknown, path: string): unknown {
  encodeJson(value, { path }); // one set of rules and messages for what may travel
  return convert(value);
}

function convert(value: unknown): unknown {
  if (typeof value === 'bigint') {
    if (value < -(2n ** 63n) || value >= 2n ** 64n)
      throw new ArgumentError('E_NOT_SERIALISABLE', `the integer ${value} does not fit in 64 bits: send it with json`);
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  }
  if (typeof value !== 'object' || value === null) return value === undefined ? null : value;
  if (Array.isArray(value)) return Array.from(value, convert);
  if (value instanceof Uint8Array) return value;
  if (value instanceof Date) return isoFromMs(value.getTime());
  if (value instanceof WireDecimal || value instanceof WireUuid || value instanceof WireDate || value instanceof WireTime)
    return value.toString();
  const copy: Record<string, unknown> = {};
  for (const key of Object.keys(value)) {
    const item = (value as Record<string, unknown>)[key];
    if (item !== undefined) copy[key] = convert(item);
  }
  return copy;
}

/**
 * What a msgpack or yaml library read, made of our types: safe integers as numbers, sets as arrays, bytes as plain
 * `Uint8Array`s, maps as objects.
 * @throws WireError `E_DECODE` for keys that are neither text nor numbers, keys named `__proto__`, and too deep nesting
 */
export function fromForeign(value: unknown, maxDepth = MAX_DEPTH): unknown {
  if (typeof value === 'bigint') {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  }
  if (typeof value !== 'object' || value === null || value instanceof Date) return value === undefined ? null : value;
  if (value instanceof Uint8Array) return new Uint8Array(value);
  if (maxDepth <= 0) throw new WireError('E_DECODE', 'nested too deeply');
  if (Array.isArray(value)) return value.map((item) => fromForeign(item, maxDepth - 1));
  if (value instanceof Set) return Array.from(value, (item) => fromForeign(item, maxDepth - 1));
  const entries = value instanceof Map ? value.entries() : Object.entries(value);
  const copy: Record<string, unknown> = {};
  for (const [given, item] of entries) {
    const key: unknown = typeof given === 'number' || typeof given === 'bigint' ? String(given) : given;
    if (typeof key !== 'string') throw new WireError('E_DECODE', 'a key of an object is neither text nor a number');
    if (key === '__proto__') throw new WireError('E_DECODE', 'refused: a key named __proto__');
    copy[key] = fromForeign(item, maxDepth - 1);
  }
  return copy;
}
