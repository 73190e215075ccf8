/**
 * Exceptions on the wire (wire section 6.4): `{exc_type, exc_message, exc_module}`. Anything can be thrown, so everything
 * here is on its guard: getters that throw, proxies, cycles, megabytes of message. Nothing in `encodeException` may throw
 * or grow without bound: a task whose failure cannot be stored would hang whoever waits for it.
 */
import { clip, pythonRepr, REPR_LIMIT } from './python-repr.js';
import { encodeJson } from './serializers/json.js';

/** Longest JSON text of an exception, in bytes. */
export const MAX_EXCEPTION_JSON = 64 * 1024;
/** Longest traceback that is kept, in bytes; the middle is left out, because both ends say what happened. */
export const MAX_TRACEBACK = 64 * 1024;
const MAX_MESSAGE = 16 * 1024;
/** Longest JSON text of one argument. */
const MAX_PART = 48 * 1024;
const MAX_CAUSES = 8;
const MAX_AGGREGATED = 8;

/** An encoded exception. */
export interface EncodedException {
  /** What goes into `result` of the meta. */
  readonly json: string;
  readonly type: string;
  readonly message: string;
  /** Stacks of the error and its causes. */
  readonly traceback: string;
}

/** An exception that was read. */
export interface DecodedException {
  readonly type: string;
  readonly message: string;
  readonly module: string | null;
}

/**
 * Names that Python resolves in `builtins`; only these may claim that module. Any other name there would make a Python
 * reader raise SecurityError if it finds something that is no exception, or make up a class.
 */
const PYTHON_BUILTINS: ReadonlySet<string> = new Set(
  `ArithmeticError AssertionError AttributeError BaseException BlockingIOError BrokenPipeError BufferError ChildProcessError
  ConnectionAbortedError ConnectionError ConnectionRefusedError ConnectionResetError EOFError Exception FileExistsError FileNotFoundError
  FloatingPointError ImportError IndentationError IndexError InterruptedError IsADirectoryError KeyError LookupError MemoryError
  ModuleNotFoundError NameError NotADirectoryError NotImplementedError OSError OverflowError PermissionError ProcessLookupError
  RecursionError ReferenceError RuntimeError StopAsyncIteration StopIteration SyntaxError SystemError TabError TimeoutError TypeError
  UnboundLocalError UnicodeError ValueError ZeroDivisionError`.split(/\s+/),
);

/**
 * Encodes whatever was thrown. Never throws.
 *
 * `exc_type` is the error's name, cleaned to a dotted identifier; `exc_message` holds the message; `exc_module` is
 * `builtins` for names of Python's built-in exceptions, `billiard.exceptions` for SoftTimeLimitExceeded, and else null. The traceback has the stacks of the error, of its
 * causes and of aggregated errors.
 */
export function encodeException(thrown: unknown): EncodedException {
  const type = typeOf(thrown);
  const message = messageOf(thrown);
  // The one exception of Celery's own that a task lets out as it got it; under its module Python catches it by class.
  const known = type === 'SoftTimeLimitExceeded' ? (MODULES[type] ?? null) : null;
  const module = PYTHON_BUILTINS.has(type) ? 'builtins' : known;
  return { json: exceptionJson(type, [message], module), type, message, traceback: tracebackOf(thrown, type, message) };
}

/**
 * An exception that Python knows by name, for example `pythonError('NotRegistered', ['tasks.add'])`; JSON text for the meta.
 * Arguments that cannot travel are replaced by a text, as Celery replaces them by their repr.
 */
export function pythonError(type: string, args: readonly unknown[], module: string | null = MODULES[type] ?? null): string {
  return exceptionJson(type, args, module);
}

/** Where Celery's own exceptions live. */
const MODULES: Readonly<Record<string, string>> = {
  NotRegistered: 'celery.exceptions',
  TaskRevokedError: 'celery.exceptions',
  Retry: 'celery.exceptions',
  Ignore: 'celery.exceptions',
  Reject: 'celery.exceptions',
  MaxRetriesExceededError: 'celery.exceptions',
  ChordError: 'celery.exceptions',
  SoftTimeLimitExceeded: 'billiard.exceptions',
  TimeLimitExceeded: 'billiard.exceptions',
  WorkerLostError: 'billiard.exceptions',
  EncodeError: 'kombu.exceptions',
};

function exceptionJson(type: string, args: readonly unknown[], module: string | null): string {
  const parts: string[] = [];
  let length = 0;
  for (const arg of args.slice(0, 32)) {
    let part = safeJson(arg);
    // escapes make text up to six times longer; a short beginning of it always fits
    if (part.length > MAX_PART) part = safeJson(shorten(typeof arg === 'string' ? arg : show(arg), MAX_PART / 8));
    if (length + part.length > MAX_EXCEPTION_JSON - 2048) part = '"..."';
    length += part.length;
    parts.push(part);
  }
  return `{"exc_type":${JSON.stringify(clip(type, Math.min(type.length, 256)))},"exc_message":[${parts.join(',')}],"exc_module":${module === null ? 'null' : JSON.stringify(module)}}`;
}

function safeJson(value: unknown): string {
  try {
    return encodeJson(typeof value === 'string' ? shorten(value, MAX_MESSAGE) : value);
  } catch {
    return JSON.stringify(shorten(show(value), 1024));
  }
}

/** Reads a property of something hostile. */
function peek(value: unknown, name: string): unknown {
  try {
    return (value as Record<string, unknown> | null | undefined)?.[name];
  } catch {
    return undefined;
  }
}

function isObjectLike(value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || typeof value === 'function';
}

function typeOf(thrown: unknown): string {
  if (!isObjectLike(thrown)) return 'Error';
  const own = peek(thrown, 'name');
  const byClass = peek(peek(thrown, 'constructor'), 'name');
  // a subclass that did not set its name says "Error"; its class says more
  const name = typeof own === 'string' && own !== '' && own !== 'Error' ? own : byClass;
  if (typeof name !== 'string' || typeof thrown === 'function') return 'Error';
  const cleaned = name
    .slice(0, 128)
    .replace(/[^\w.]/g, '')
    .replace(/^[\d.]+|\.+$/g, '');
  return cleaned === '' || cleaned === 'Object' || cleaned === 'Array' ? 'Error' : cleaned;
}

function messageOf(thrown: unknown): string {
  if (isObjectLike(thrown)) {
    const message = peek(thrown, 'message');
    if (typeof message === 'string') return shorten(message, MAX_MESSAGE);
  }
  return shorten(show(thrown), MAX_MESSAGE);
}

/** Any value as text; never throws, never expands a huge value in full more than once. */
function show(value: unknown): string {
  if (typeof value === 'string') return value;
  try {
    if (isObjectLike(value)) {
      const text = Object.hasOwn(value, 'toString') ? '' : encodeJson(value);
      if (text !== '') return text;
    }
  } catch {
    // not JSON: fall through to its own idea of text
  }
  try {
    return String(value);
  } catch {
    return 'a thrown value that cannot be shown';
  }
}

function shorten(text: string, limit: number): string {
  return text.length <= limit ? text : `${clip(text, limit)}... (${text.length} characters)`;
}

function tracebackOf(thrown: unknown, type: string, message: string): string {
  const seen = new Set<unknown>();
  const sections: string[] = [];
  let error: unknown = thrown;
  for (let level = 0; level <= MAX_CAUSES; level++) {
    if (isObjectLike(error)) {
      if (seen.has(error)) break;
      seen.add(error);
    }
    const text = level === 0 ? stackOf(error, type, message) : stackOf(error, typeOf(error), messageOf(error));
    sections.push(level === 0 ? text : `Caused by: ${text}`);
    for (const part of aggregated(error)) sections.push(`One of the errors: ${stackOf(part, typeOf(part), messageOf(part))}`);
    const cause = isObjectLike(error) ? peek(error, 'cause') : undefined;
    if (cause === undefined || cause === null) break;
    error = cause;
  }
  const whole = sections.join('\n');
  const bytes = Buffer.byteLength(whole);
  if (bytes <= MAX_TRACEBACK) return whole;
  // a character takes at most three bytes
  const half = Math.floor(MAX_TRACEBACK / (bytes === whole.length ? 2 : 6)) - 64;
  return `${clip(whole, half)}\n... ${whole.length - 2 * half} characters left out ...\n${whole.slice(-half)}`;
}

function stackOf(error: unknown, type: string, message: string): string {
  const stack = isObjectLike(error) ? peek(error, 'stack') : undefined;
  if (typeof stack === 'string' && stack !== '') {
    // a stack repeats the whole message, however long; keep its head and the frames at its end
    return stack.length <= MAX_MESSAGE * 2 ? stack : `${clip(stack, MAX_MESSAGE)}\n...\n${stack.slice(-MAX_MESSAGE)}`;
  }
  return `${type}: ${message}`;
}

function aggregated(error: unknown): unknown[] {
  const errors = isObjectLike(error) ? peek(error, 'errors') : undefined;
  try {
    return Array.isArray(errors) ? errors.slice(0, MAX_AGGREGATED) : [];
  } catch {
    return [];
  }
}

/** Reads the exception in a result; accepts every form that Celery's readers accept, and never throws. */
export function decodeException(result: unknown): DecodedException {
  if (typeof result !== 'object' || result === null || Array.isArray(result)) {
    return { type: 'Error', message: result === null || result === undefined ? '' : show(result), module: null };
  }
  const { exc_type, exc_message, exc_module } = result as Record<string, unknown>;
  return {
    type: typeof exc_type === 'string' && exc_type !== '' ? exc_type : 'Error',
    message: Array.isArray(exc_message)
      ? exc_message.map(argText).join(', ')
      : exc_message === undefined
        ? show(result)
        : argText(exc_message),
    module: typeof exc_module === 'string' ? exc_module : null,
  };
}

/** Python's `repr` of the exception in a result, for events: `ValueError('boom')`; `None` when there is none. Never throws. */
export function exceptionRepr(result: unknown): string {
  if (result === null || result === undefined) return 'None';
  const { type } = decodeException(result);
  const given = (result as { readonly exc_message?: unknown }).exc_message;
  const args: readonly unknown[] = Array.isArray(given) ? given : given === undefined || given === null ? [] : [given];
  let text = `${type}(`;
  for (let index = 0; index < args.length && text.length <= REPR_LIMIT; index++)
    text += (index > 0 ? ', ' : '') + pythonRepr(args[index], REPR_LIMIT);
  return text.length < REPR_LIMIT ? `${text})` : `${clip(text, REPR_LIMIT - 3)}...`;
}

function argText(value: unknown): string {
  return value === null || value === undefined ? '' : show(value);
}
