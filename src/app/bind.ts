/**
 * What arrived (positions and keywords) to what a handler takes. Pure. Errors name the task and the parameter, because
 * their reader is often on the Python side.
 */
import { ArgumentError, ConfigError } from '../core/errors.js';

/** Arguments as they arrive. */
export type Args = readonly unknown[];
/** Keywords as they arrive. */
export type Kwargs = Readonly<Record<string, unknown>>;

/** Turns arguments and keywords into the handler's arguments. */
export type Binder = (args: Args, kwargs: Kwargs) => Args;

interface Parameter {
  readonly name: string;
  readonly optional: boolean;
}

const PARAMETER = /^(\.\.\.|\*\*)?([A-Za-z_$][\w$]*)(\?)?$/;

function isEmpty(object: object): boolean {
  for (const _ in object) return false;
  return true;
}

/** How many arguments came, in words. */
function count(number: number): string {
  return number === 1 ? '1 argument' : `${number} arguments`;
}

/**
 * The binder of a task made with `app.fn`. Without `params` positions are passed as they are and keywords are refused.
 * @param params names in order; `name?` is optional, a last `...name` takes what is left, `'**name'` lets other keywords
 * through (they are in `taskContext().kwargs`)
 * @param required parameters that the handler itself says it needs (`handler.length`): those with a default are optional
 * @throws ConfigError `E_CONFIG_RANGE` for params that make no sense
 */
export function positionalBinder(task: string, params: readonly string[] | undefined, required: number): Binder {
  if (params === undefined) {
    return (args, kwargs) => {
      if (isEmpty(kwargs)) return args;
      throw new ArgumentError(
        'E_ARGUMENTS',
        `task ${task} takes arguments by position only, and got the keyword ${JSON.stringify(Object.keys(kwargs)[0])}: call it by position, or name its parameters with app.fn(…, { params: […] })`,
      );
    };
  }
  const { named, rest, openKeywords } = readParameters(task, params, required);
  const indexes = new Map(named.map(({ name }, index) => [name, index]));
  const needed = named.filter(({ optional }) => !optional).length;
  const signature = `${task}(${params.join(', ')})`;
  return (args, kwargs) => {
    if (!rest && args.length > named.length) {
      throw new ArgumentError('E_ARGUMENTS', `${signature} takes at most ${count(named.length)}, and got ${args.length}`);
    }
    if (isEmpty(kwargs) && args.length >= needed) return args;
    const bound = args.slice();
    for (const keyword of Object.keys(kwargs)) {
      const index = indexes.get(keyword);
      if (index === undefined) {
        if (openKeywords) continue;
        throw new ArgumentError('E_ARGUMENTS', `${signature} has no parameter ${JSON.stringify(keyword)}`);
      }
      if (index < args.length)
        throw new ArgumentError('E_ARGUMENTS', `${signature} got ${JSON.stringify(keyword)} twice: by position and by keyword`);
      bound[index] = kwargs[keyword];
    }
    for (let index = args.length; index < named.length; index++) {
      const parameter = named[index] as Parameter;
      if (index in bound) continue;
      if (!parameter.optional)
        throw new ArgumentError('E_ARGUMENTS', `${signature} needs ${JSON.stringify(parameter.name)}, and did not get it`);
      if (index < bound.length) bound[index] = undefined;
    }
    return bound;
  };
}

function readParameters(
  task: string,
  params: readonly string[],
  required: number,
): { named: readonly Parameter[]; rest: boolean; openKeywords: boolean } {
  const refuse = (why: string): never => {
    throw new ConfigError('E_CONFIG_RANGE', `task ${task}: params ${JSON.stringify(params)}: ${why}`);
  };
  if (!Array.isArray(params)) refuse("it must be an array of names, for example ['x', 'y']");
  const named: Parameter[] = [];
  let rest = false;
  let openKeywords = false;
  for (const text of params) {
    const match = typeof text === 'string' ? PARAMETER.exec(text) : null;
    if (!match) return refuse(`${JSON.stringify(text)} is no parameter name`);
    const [, prefix, name = '', mark] = match;
    if (openKeywords) refuse(`nothing comes after ${JSON.stringify(params[params.indexOf(text) - 1])}`);
    if (prefix === '**') openKeywords = true;
    else if (rest) refuse('only **name comes after ...name');
    else if (prefix === '...') rest = true;
    else {
      if (named.some((parameter) => parameter.name === name)) refuse(`${JSON.stringify(name)} is there twice`);
      named.push({ name, optional: mark === '?' || named.length >= required });
    }
  }
  return { named, rest, openKeywords };
}

/** Objects that came as JSON objects, not dates, bytes or arrays. */
function isPlainObject(value: unknown): value is Kwargs {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

/**
 * The input of an object task: the keywords, or one object by position (the result of the link before in a chain) with
 * the keywords over it.
 * @throws ArgumentError `E_ARGUMENTS`
 */
export function bindObject(task: string, args: Args, kwargs: Kwargs): Kwargs {
  if (args.length === 0) return kwargs;
  const [first] = args;
  if (args.length > 1) {
    throw new ArgumentError(
      'E_ARGUMENTS',
      `task ${task} takes one object, as keywords or as its only argument, and got ${count(args.length)}`,
    );
  }
  if (!isPlainObject(first)) {
    const got =
      first === null
        ? 'null'
        : Array.isArray(first)
          ? 'an array'
          : first instanceof Date
            ? 'a date'
            : typeof first === 'object'
              ? 'bytes or a typed value'
              : `a ${typeof first}`;
    throw new ArgumentError('E_ARGUMENTS', `task ${task} takes one object, as keywords or as its only argument, and got ${got}`);
  }
  return isEmpty(kwargs) ? first : { ...first, ...kwargs };
}

/** Trailing `undefined`s are arguments that were left out: sent as null they would hide a default. */
export function trimmed(args: Args): Args {
  let length = args.length;
  while (length > 0 && args[length - 1] === undefined) length -= 1;
  return length === args.length ? args : args.slice(0, length);
}

/** @throws ArgumentError `E_ARGUMENTS` */
export function oneObject(name: string, args: Args): object {
  const [input] = args;
  if (args.length === 1 && typeof input === 'object' && input !== null && !Array.isArray(input)) return input;
  throw new ArgumentError('E_ARGUMENTS', `task ${name} takes one object: its fields travel as keywords`);
}
