/** Comparing parsed JSON without losing what JSON.parse loses, and knowing kinds of messages. */
import { decodeJson } from '../../src/wire/serializers/json.js';

/** A JSON text as plain values: big integers and bare NaN kept, typed values left as the objects they are. */
export function exact(text: string): unknown {
  return decodeJson(text, { typed: false });
}

/**
 * The same value with every time cut to milliseconds: the one thing that a JavaScript Date cannot hold. Python's naive times
 * come back with the offset of UTC.
 */
export function cutToMilliseconds(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(cutToMilliseconds);
  if (typeof value !== 'object' || value === null) return value;
  const object = value as Record<string, unknown>;
  if (object.__type__ === 'datetime' && typeof object.__value__ === 'string')
    return { ...object, __value__: cutTime(object.__value__) };
  return Object.fromEntries(Object.entries(object).map(([key, item]) => [key, cutToMilliseconds(item)]));
}

/** `2024-02-29T13:05:06.000789` to what we write for it: `2024-02-29T13:05:06+00:00`. */
export function cutTime(text: string): string {
  const [, seconds, fraction = '', offset = '+00:00'] = /^(.{19})(?:\.(\d+))?(.*)$/.exec(text) ?? [];
  const milliseconds = fraction.slice(0, 3);
  const cut = Number(milliseconds) === 0 ? '' : `.${milliseconds.padEnd(3, '0')}000`;
  return `${seconds}${cut}${offset === '' ? '+00:00' : offset}`;
}
