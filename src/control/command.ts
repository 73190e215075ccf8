/**
 * What a remote command is: a name, parameters as Celery's function of that name has them, and what it does. Checks arguments
 * and says what is wrong in the words of Python, because its reader is `celery inspect` as a rule.
 */
import type { Logger } from '../core/logger.js';
import { pythonRepr } from '../wire/python-repr.js';
import type { LamportClock } from './lamport-clock.js';
import type { WorkerPort } from './worker-port.js';

/** Keyword arguments of a request. */
export type CommandArgs = Readonly<Record<string, unknown>>;

export interface CommandContext {
  readonly port: WorkerPort;
  readonly clock: LamportClock;
  readonly logger: Logger;
}

/** One command. */
export interface ControlCommand {
  readonly name: string;
  /** Older names that Celery still answers to. */
  readonly alias?: string;
  /** In the order of Python's signature; a name that ends in `?` has a default. */
  readonly parameters?: readonly string[];
  /** Other arguments are passed over (`**kwargs`); else they are an error. */
  readonly open?: boolean;
  /** The reply's value; `NO_REPLY`: none is sent. What it throws becomes the reply `{"error": …}`. */
  run(args: CommandArgs, context: CommandContext): unknown;
}

/** No reply at all, not even null. */
export const NO_REPLY = Symbol('no reply');

/** An error with the name of a Python exception, shown as its repr. */
export class CommandError extends Error {
  override readonly name: string;

  constructor(name: string, message: string) {
    super(message);
    this.name = name;
  }
}

export const ok = (text: string): object => ({ ok: text });
export const nok = (text: string): object => ({ error: text });

/** A list of which a reply carries what fits; see `reply.ts`. */
export class Listing {
  readonly items: Iterable<() => unknown>;
  /** Makes the item that tells people that so many more are left out. */
  readonly more: (count: number) => unknown;

  constructor(items: Iterable<() => unknown>, more: (count: number) => unknown) {
    this.items = items;
    this.more = more;
  }

  /** @param show what the reply says of an item; only asked about those that it carries */
  static of<Item>(items: Iterable<Item>, show: (item: Item) => unknown, more: (count: number) => unknown): Listing {
    function* shown(): Generator<() => unknown> {
      for (const item of items) yield () => show(item);
    }
    return new Listing(shown(), more);
  }
}

/** The error's repr, as Celery answers. */
export function errorText(thrown: unknown): string {
  if (!(thrown instanceof Error)) return `Error(${pythonRepr(String(thrown))})`;
  return `${thrown.name}(${pythonRepr(thrown.message, LONGEST_ERROR)})`;
}

const LONGEST_ERROR = 4_096;

/** @throws CommandError as Python refuses a call of that function */
export function checkArguments(command: ControlCommand, args: CommandArgs): void {
  const { name, parameters = [], open } = command;
  const known = new Set(parameters.map((parameter) => parameter.replace('?', '')));
  if (!open) {
    for (const given in args)
      if (!known.has(given))
        throw new CommandError('TypeError', `${name}() got an unexpected keyword argument ${pythonRepr(given)}`);
  }
  const missing = parameters
    .filter((parameter) => !parameter.endsWith('?') && !Object.hasOwn(args, parameter))
    .map((one) => `'${one}'`);
  if (missing.length === 0) return;
  const names =
    missing.length === 1
      ? missing[0]
      : `${missing.slice(0, -1).join(', ')}${missing.length > 2 ? ',' : ''} and ${missing.at(-1)}`;
  const plural = missing.length === 1 ? '' : 's';
  throw new CommandError('TypeError', `${name}() missing ${missing.length} required positional argument${plural}: ${names}`);
}

/** Texts, whether they came alone or in a list. */
export function textsOf(value: unknown): string[] {
  const values: readonly unknown[] = Array.isArray(value) ? value : value === null || value === undefined ? [] : [value];
  return values.filter((one) => typeof one === 'string');
}

/**
 * Whether Python would take it for true. Flower's `terminate` is the number 1: whoever compares with `true` lets the task run on, and
 * its user is told that it was revoked.
 */
export function isTruthy(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0;
  if (typeof value === 'object' && value !== null) return Object.keys(value).length > 0;
  return Boolean(value);
}

/** A text argument. @throws CommandError */
export function textOf(args: CommandArgs, name: string): string {
  const value = args[name];
  if (typeof value === 'string' && value !== '') return value;
  throw new CommandError('ValueError', `${name} must be a text, not ${pythonRepr(value)}`);
}

/** A whole number of at least `least`; text is read, as command lines send it. @throws CommandError */
export function numberOf(value: unknown, name: string, least: number, most: number): number {
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  if (typeof number === 'number' && Number.isInteger(number) && number >= least && number <= most) return number;
  throw new CommandError('ValueError', `${name} must be a whole number from ${least} to ${most}, not ${pythonRepr(value)}`);
}
