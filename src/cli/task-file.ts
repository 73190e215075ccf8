/**
 * Reads a file of tasks: one JSON object a line, `{ "task": …, "args": […], "kwargs": {…}, "options": {…} }`. Streams, so
 * a file may be larger than memory; every line is bounded and checked for itself.
 */
import { createReadStream } from 'node:fs';
import type { CallOptions } from '../app/call-options.js';
import { checkKeys, checkObject } from '../app/config-schema.js';
import { ArgumentError, codeOf, LovageError, toError } from '../core/errors.js';
import { decodeJson, textOfUtf8 } from '../wire/serializers/json.js';
import type { NamedCall } from './client.js';

/** A line of the file, or what is wrong with it. */
export type TaskLine = { readonly line: number } & ({ readonly call: NamedCall } | { readonly fault: LovageError });

const LINE_KEYS: ReadonlySet<string> = new Set(['task', 'args', 'kwargs', 'options']);
const NEWLINE = 0x0a;

/** The lines of a file as bytes; `null` for a line that is longer than `maxBytes` (it is skipped, not kept). */
async function* byteLines(file: string, maxBytes: number): AsyncGenerator<Buffer | null> {
  let parts: Buffer[] = [];
  let length = 0;
  const take = (): Buffer | null => {
    const line = length > maxBytes ? null : Buffer.concat(parts);
    parts = [];
    length = 0;
    return line;
  };
  const add = (part: Buffer): void => {
    length += part.length;
    if (length > maxBytes) parts = [];
    else parts.push(part);
  };
  for await (const chunk of createReadStream(file, { highWaterMark: 256 * 1024 }) as AsyncIterable<Buffer>) {
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
      add(chunk.subarray(from, end));
      from = end + 1;
      yield take();
    }
    if (from < chunk.length) add(chunk.subarray(from));
  }
  if (length > 0) yield take();
}

function instantOf(value: unknown, name: string): Date {
  const at = value instanceof Date ? value : new Date(typeof value === 'string' ? value : Number.NaN);
  if (!Number.isNaN(at.getTime())) return at;
  throw new ArgumentError('E_ARGUMENTS', `${name} is no ISO 8601 time`);
}

/** Call options as JSON has them: times are text. The rest is checked by `resolveCallOptions`. */
function optionsOf(value: unknown): CallOptions {
  if (value === undefined) return {};
  checkObject(value, 'options');
  const { eta, expires, signal: _, ...rest } = value as Readonly<Record<string, unknown>>;
  const isDuration = typeof expires === 'string' && /^[\d.]+[a-z]+$/.test(expires);
  return {
    ...(rest as CallOptions),
    ...(eta === undefined ? {} : { eta: instantOf(eta, 'options.eta') }),
    ...(expires === undefined ? {} : { expires: isDuration ? (expires as `${number}s`) : instantOf(expires, 'options.expires') }),
  };
}

function parse(text: string): NamedCall {
  const value = decodeJson(text);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ArgumentError(
      'E_ARGUMENTS',
      `a line is an object such as {"task":"math.add","args":[2,3]}, not ${Array.isArray(value) ? 'an array' : JSON.stringify(value)}`,
    );
  }
  checkKeys(value, LINE_KEYS, 'the line');
  const { task, args = [], kwargs = {}, options } = value as Readonly<Record<string, unknown>>;
  if (typeof task !== 'string') throw new ArgumentError('E_ARGUMENTS', '"task" must be the name of a task');
  if (!Array.isArray(args)) throw new ArgumentError('E_ARGUMENTS', '"args" must be an array');
  if (typeof kwargs !== 'object' || kwargs === null || Object.getPrototypeOf(kwargs) !== Object.prototype)
    throw new ArgumentError('E_ARGUMENTS', '"kwargs" must be an object');
  return { task, args, kwargs: kwargs as Readonly<Record<string, unknown>>, options: optionsOf(options) };
}

/**
 * Yields every line that is not blank, good or bad, with its number from 1.
 * @param check what else a good line must pass; throws if it does not
 */
export async function* readTaskFile(
  file: string,
  maxLineBytes: number,
  check: (call: NamedCall) => void,
): AsyncGenerator<TaskLine> {
  let line = 0;
  for await (const bytes of byteLines(file, maxLineBytes)) {
    line += 1;
    if (bytes === null) {
      yield { line, fault: new ArgumentError('E_MESSAGE_TOO_LARGE', `the line is longer than ${maxLineBytes} bytes`) };
      continue;
    }
    try {
      const text = textOfUtf8(bytes);
      if (text.trim() === '') continue;
      const call = parse(text);
      check(call);
      yield { line, call };
    } catch (thrown) {
      const error = toError(thrown);
      yield {
        line,
        fault:
          error instanceof LovageError
            ? error
            : new ArgumentError(codeOf(error) ?? 'E_ARGUMENTS', error.message, { cause: error }),
      };
    }
  }
}
