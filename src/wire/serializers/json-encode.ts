/**
 * Values to JSON text that Python reads as the same values. Owns the rules for what may travel and the words that say
 * why something may not; reading is `json-decode.ts`.
 *
 * Two passes for speed: `scan` walks the value without building anything, and if all of it is what JSON.stringify
 * writes correctly, JSON.stringify does the work. Only values with dates, bytes, big integers, … take the slow `Writer`.
 * The walk is needed: left alone, JSON.stringify turns dates into text, drops functions and calls toJSON.
 */
import { isUtf8 } from 'node:buffer';
import { ArgumentError, LovageError } from '../../core/errors.js';
import { isoFromMs, isPythonInstant } from '../iso-time.js';
import { WireDate, WireDecimal, WireTime, WireUuid } from '../typed-values.js';

/** `tagged`: kombu's typed values, read by Celery 5.3 and later. `plain`: text that Celery 5.2 reads; bytes cannot travel. */
export type JsonMode = 'tagged' | 'plain';

export interface EncodeJsonOptions {
  /** @defaultValue `'tagged'` */
  readonly mode?: JsonMode;
  /** What the value is called in error messages. @defaultValue `'value'` */
  readonly path?: string;
}

/** How deep values may be nested when they are read. Python's own limit is about 1,000. */
export const MAX_DEPTH = 200;
/** How deep when they are written: a result becomes an argument of the next task, a few levels further down. */
const MAX_WRITTEN_DEPTH = 190;
/** Python refuses to read longer integers (`sys.set_int_max_str_digits`). */
export const MAX_INTEGER_DIGITS = 4300;

const PLAIN = 0;
/** Needs the Writer: it may be encodable, it may have to be refused. */
const SPECIAL = 1;

/**
 * JSON text of a value, so that Python reads the same value.
 *
 * `Date` → datetime, `Uint8Array` → bytes, `bigint` → integer, `NaN` and infinities → Python's bare tokens, the classes
 * of `typed-values.ts` → what they were. Members that are `undefined` are left out; in arrays they become null. A number
 * beyond 2^53 is written as a float (`1.5e+300`): use `bigint` for large integers.
 * @throws ArgumentError `E_NOT_SERIALISABLE` with the path, for functions, symbols, class instances, `Map`, `Set`, invalid
 * dates, values that contain themselves, more than 190 levels, keys named `__proto__`, and objects whose only keys are
 * `__type__` and `__value__` (Python would drop the whole message)
 */
export function encodeJson(value: unknown, options?: EncodeJsonOptions): string {
  const mode = options?.mode ?? 'tagged';
  const path = options?.path ?? 'value';
  try {
    if (scan(value, 0) === PLAIN) {
      // undefined has no JSON text; as a whole value (a task without return value) it is null
      if (value === undefined) return 'null';
      const text = JSON.stringify(value);
      if (!text.includes('__')) return text;
      if (!text.includes('"__type__"') && !text.includes('"__proto__"')) return text;
    }
    return write(value, mode, [path], []);
  } catch (error) {
    if (error instanceof LovageError) throw error;
    throw new ArgumentError('E_NOT_SERIALISABLE', `${path} cannot be read: a getter or proxy in it threw`, { cause: error });
  }
}

/** Whether JSON.stringify would write exactly this value: no dates, bytes, big integers, class instances, … inside. */
export function isPlainJson(value: unknown): boolean {
  return scan(value, 0) === PLAIN;
}

function scan(value: unknown, depth: number): 0 | 1 {
  switch (typeof value) {
    case 'string':
    case 'boolean':
    case 'undefined':
      return PLAIN;
    case 'number':
      // also false for NaN and the infinities, and for -0, whose sign JSON.stringify drops
      return value < 9007199254740992 && value > -9007199254740992 && (value !== 0 || 1 / value > 0) ? PLAIN : SPECIAL;
    case 'object': {
      if (value === null) return PLAIN;
      if (depth >= MAX_WRITTEN_DEPTH) return SPECIAL;
      // own or inherited, JSON.stringify would call it
      if ((value as { readonly toJSON?: unknown }).toJSON !== undefined) return SPECIAL;
      if (Array.isArray(value)) {
        for (let i = 0; i < value.length; i++) {
          const item: unknown = value[i];
          if (typeof item !== 'string' && scan(item, depth + 1) !== PLAIN) return SPECIAL;
        }
        return PLAIN;
      }
      if (Object.getPrototypeOf(value) !== Object.prototype) return SPECIAL;
      for (const key in value) {
        const item = (value as Record<string, unknown>)[key];
        if (typeof item !== 'string' && scan(item, depth + 1) !== PLAIN) return SPECIAL;
      }
      return PLAIN;
    }
    default:
      return SPECIAL;
  }
}

type Path = (string | number)[];

function write(value: unknown, mode: JsonMode, path: Path, ancestors: object[]): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value);
    case 'boolean':
      return value ? 'true' : 'false';
    case 'undefined':
      return 'null';
    case 'number':
      return writeNumber(value);
    case 'bigint': {
      const text = value.toString();
      if (text.length > MAX_INTEGER_DIGITS)
        throw refusal(path, `is an integer of more than ${MAX_INTEGER_DIGITS} digits, which Python refuses to read`);
      return text;
    }
    case 'object':
      return value === null ? 'null' : writeObject(value, mode, path, ancestors);
    case 'function':
      throw refusal(path, 'is a function: pass the id and load the row inside the task');
    default:
      throw refusal(path, `is a ${typeof value}, which has no form on the wire`);
  }
}

function writeNumber(value: number): string {
  if (Object.is(value, -0)) return '-0.0';
  if (Number.isFinite(value)) return Math.abs(value) < 9007199254740992 ? JSON.stringify(value) : value.toExponential();
  return Number.isNaN(value) ? 'NaN' : value > 0 ? 'Infinity' : '-Infinity';
}

function writeObject(value: object, mode: JsonMode, path: Path, ancestors: object[]): string {
  const typed = writeTyped(value, mode, path);
  if (typed !== null) return typed;
  if (ancestors.includes(value)) throw refusal(path, 'contains itself (a cycle): pass plain data without back references');
  if (ancestors.length >= MAX_WRITTEN_DEPTH) throw refusal(path, `is nested more than ${MAX_WRITTEN_DEPTH} levels deep`);
  ancestors.push(value);
  let text: string;
  if (Array.isArray(value)) {
    const parts: string[] = [];
    for (let i = 0; i < value.length; i++) {
      path.push(i);
      parts.push(write(value[i], mode, path, ancestors));
      path.pop();
    }
    text = `[${parts.join(',')}]`;
  } else {
    const prototype: unknown = Object.getPrototypeOf(value);
    // an object of another realm has a prototype without prototype, as ours has
    if (prototype !== null && Object.getPrototypeOf(prototype) !== null) throw refusal(path, describeInstance(value));
    const parts: string[] = [];
    let hasType = false;
    let hasValue = false;
    for (const key of Object.keys(value)) {
      path.push(key);
      if (key === '__proto__') throw refusal(path, 'is a key that could change prototypes; no reader takes it');
      const item = (value as Record<string, unknown>)[key];
      if (item !== undefined) {
        if (key === '__type__') hasType = true;
        else if (key === '__value__') hasValue = true;
        parts.push(`${JSON.stringify(key)}:${write(item, mode, path, ancestors)}`);
      }
      path.pop();
    }
    if (hasType && hasValue && parts.length === 2) {
      throw refusal(
        path,
        'has exactly the keys __type__ and __value__, which Celery reads as a typed value and drops the message: add a third key',
      );
    }
    text = `{${parts.join(',')}}`;
  }
  ancestors.pop();
  return text;
}

/** The text of dates, bytes and typed wrappers; null for everything else. */
function writeTyped(value: object, mode: JsonMode, path: Path): string | null {
  if (value instanceof Date) {
    const ms = value.getTime();
    if (!isPythonInstant(ms))
      throw refusal(
        path,
        Number.isNaN(ms) ? 'is an invalid Date' : 'is a Date outside the years 1 to 9999, which Python cannot hold',
      );
    const iso = isoFromMs(ms);
    return mode === 'tagged' ? tag('datetime', JSON.stringify(iso)) : `"${iso.slice(0, -6)}Z"`;
  }
  if (value instanceof Uint8Array) {
    if (mode === 'plain') throw refusal(path, "holds bytes, which Celery 5.2 cannot read (json: 'plain'): pass base64 text");
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    return isUtf8(bytes) ? tag('bytes', JSON.stringify(bytes.toString('utf8'))) : tag('base64', `"${bytes.toString('base64')}"`);
  }
  if (value instanceof WireDecimal)
    return mode === 'tagged' ? tag('decimal', JSON.stringify(value.text)) : JSON.stringify(value.text);
  if (value instanceof WireUuid) return mode === 'tagged' ? tag('uuid', `{"hex":"${value.hex}"}`) : `"${value.toString()}"`;
  if (value instanceof WireDate) return mode === 'tagged' ? tag('date', JSON.stringify(value.text)) : `"${value.text}T00:00:00"`;
  if (value instanceof WireTime) return mode === 'tagged' ? tag('time', JSON.stringify(value.text)) : JSON.stringify(value.text);
  return null;
}

function tag(type: string, valueJson: string): string {
  return `{"__type__":"${type}","__value__":${valueJson}}`;
}

function describeInstance(value: object): string {
  if (value instanceof Map) return 'is a Map: pass Object.fromEntries(map) or an array of its entries';
  if (value instanceof Set) return 'is a Set: pass an array ([...set])';
  if (value instanceof Promise) return 'is a Promise: await it first';
  if (value instanceof Error) return 'is an Error: pass its message, or plain data that describes it';
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return 'is binary data of another kind: pass a Uint8Array';
  const maker: unknown = value.constructor;
  const name = typeof maker === 'function' && maker.name !== '' ? maker.name : 'a class';
  return `is an instance of ${name}: pass plain data, or its id and load it inside the task`;
}

const NAME = /^[A-Za-z_$][\w$]*$/;

function refusal(path: Path, problem: string): ArgumentError {
  let where = String(path[0]);
  for (let i = 1; i < path.length; i++) {
    const key = path[i] as string | number;
    if (typeof key === 'number') where += `[${key}]`;
    else where += NAME.test(key) ? `.${key}` : `[${JSON.stringify(key.length > 80 ? `${key.slice(0, 80)}…` : key)}]`;
    if (where.length > 400) {
      where += '…';
      break;
    }
  }
  return new ArgumentError('E_NOT_SERIALISABLE', `${where} ${problem}`);
}
