/**
 * The logger of a part that lives in a thread or process of its own, when the lines belong to a logger of the caller's: they
 * cross the port and come out there as if they had been written on the spot. Without such a logger each part writes to
 * standard error itself (`core/log-output.ts`), which no crash can lose.
 */
import { createLogger } from '../../core/log-output.js';
import type { Logger } from '../../core/logger.js';
import type { PortLog } from '../port.js';
import type { LogSettings } from './pool.js';

type Level = PortLog['level'];
type Fields = Readonly<Record<string, unknown>>;

/** Lines of one turn of the loop beyond this are counted and dropped: nobody could read them, and they wait in memory. */
const MAX_LINES_A_TURN = 1_000;

/** The logger of a part. @param post brings a line to the engine; may throw when it cannot be cloned */
export function partLogger(settings: LogSettings, fields: Fields, post: (line: PortLog) => void): Logger {
  return settings === 'forward' ? new PortLogger(fields, new Turn(post)) : createLogger({ ...settings, fields });
}

/** Writes a line that came over the port. */
export function logFromPort(logger: Logger, { level, fields, message }: PortLog): void {
  logger[level](Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, fromPlain(value)])), message);
}

/** Counts the lines of a turn; posts at once, because what is said last before a crash is what matters most. */
class Turn {
  readonly #post: (line: PortLog) => void;
  #lines = 0;

  constructor(post: (line: PortLog) => void) {
    this.#post = post;
  }

  line(line: PortLog): void {
    this.#lines += 1;
    if (this.#lines === 1) setImmediate(() => this.#end());
    if (this.#lines <= MAX_LINES_A_TURN) this.#post(line);
  }

  #end(): void {
    const dropped = this.#lines - MAX_LINES_A_TURN;
    this.#lines = 0;
    if (dropped > 0) this.#post({ type: 'log', level: 'warn', fields: { dropped }, message: 'too many log lines at once' });
  }
}

class PortLogger implements Logger {
  readonly #fields: Fields;
  readonly #turn: Turn;

  constructor(fields: Fields, turn: Turn) {
    this.#fields = fields;
    this.#turn = turn;
  }

  debug(fields: object, message?: string): void {
    this.#line('debug', fields, message);
  }
  info(fields: object, message?: string): void {
    this.#line('info', fields, message);
  }
  warn(fields: object, message?: string): void {
    this.#line('warn', fields, message);
  }
  error(fields: object, message?: string): void {
    this.#line('error', fields, message);
  }

  child(fields: object): Logger {
    return new PortLogger({ ...this.#fields, ...fields }, this.#turn);
  }

  #line(level: Level, fields: object | string, message: string | undefined): void {
    const given: Fields = typeof fields === 'string' ? {} : (fields as Fields);
    const all = Object.entries({ ...this.#fields, ...given }).map(([name, value]) => [name, toPlain(value)]);
    this.#turn.line({
      type: 'log',
      level,
      fields: Object.fromEntries(all) as Fields,
      message: typeof fields === 'string' ? fields : message,
    });
  }
}

/** An error on its way: cloning would drop what it has beside its stack, its code above all. */
interface PlainError {
  readonly lovageError: { readonly name: string; readonly message: string; readonly stack: string | undefined };
  readonly own: unknown;
}

/** What can cross: errors in parts, everything else as JSON would show it. */
function toPlain(value: unknown): unknown {
  if (value instanceof Error) {
    const { name, message, stack } = value;
    return { lovageError: { name, message, stack }, own: throughJson({ ...value }) } satisfies PlainError;
  }
  return typeof value === 'object' || typeof value === 'function' || typeof value === 'symbol' ? throughJson(value) : value;
}

function throughJson(value: unknown): unknown {
  try {
    const text = JSON.stringify(value);
    return text === undefined ? undefined : JSON.parse(text);
  } catch {
    return '[cannot be shown]';
  }
}

function fromPlain(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('lovageError' in value)) return value;
  const { lovageError, own } = value as PlainError;
  const { name, message, stack } = lovageError;
  const error = Object.assign(new Error(message), own);
  Object.defineProperty(error, 'name', { value: name, configurable: true, writable: true });
  if (stack !== undefined) error.stack = stack;
  return error;
}
