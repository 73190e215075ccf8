/**
 * Types only: which values survive the wire. What types can see is a compile error with a readable text; the rest is
 * found by `send()` and by the worker (`E_NOT_SERIALISABLE`).
 */
import type { WireDate, WireDecimal, WireTime, WireUuid } from '../wire/typed-values.js';

/** Values that travel as they are. */
export type WireScalar =
  | null
  | undefined
  | boolean
  | number
  | string
  | bigint
  | Date
  | Uint8Array
  | WireDate
  | WireDecimal
  | WireTime
  | WireUuid;

/** Values that travel: scalars, and arrays and plain objects of them. */
export type WireValue = WireScalar | readonly WireValue[] | { readonly [key: string]: WireValue };

/** How deep the check looks; recursive types end here. */
type Levels = [1, 1, 1, 1, 1, 1];
type Less<Depth extends readonly unknown[]> = Depth extends readonly [unknown, ...infer Rest] ? Rest : [];

/** `any`, `unknown` and `never` tell nothing: those are left to the check at run time. */
type IsOpaque<T> = unknown extends T ? true : [T] extends [never] ? true : false;

/**
 * Whether values of this type survive the wire. Structural, because types declared with `interface` have no index
 * signature. Class instances are told by their methods; `Error` has none and is named.
 */
export type IsWireSafe<T, Depth extends readonly unknown[] = Levels> =
  IsOpaque<T> extends true
    ? true
    : Depth extends readonly []
      ? true
      : T extends WireScalar
        ? true
        : T extends (...args: never[]) => unknown
          ? false
          : T extends symbol | Error
            ? false
            : T extends readonly (infer Item)[]
              ? IsWireSafe<Item, Less<Depth>>
              : T extends object
                ? false extends { [Key in keyof T]-?: IsWireSafe<T[Key], Less<Depth>> }[keyof T]
                  ? false
                  : true
                : false;

/** What a handler's return type must also be when it cannot travel: nothing is, so the compiler shows this name and text. */
export interface ResultIsNotWireSafe {
  readonly 'this result cannot travel': 'return JSON values, Date, Uint8Array or bigint; not class instances, functions, Map or Set (or give an output schema)';
}

/** The same for parameters; a text and not an object, because for functions the compiler shows no missing property. */
export type ArgumentsAreNotWireSafe =
  'an argument cannot travel: take JSON values, Date, Uint8Array or bigint; pass the id of a row and load it inside the task';

/** `unknown` (no further demand) if results of this type travel. */
// biome-ignore lint/suspicious/noConfusingVoidType: a handler that returns nothing returns void
export type WireSafeResult<R> = [R] extends [void] ? unknown : false extends IsWireSafe<R> ? ResultIsNotWireSafe : unknown;

/** `unknown` if arguments of these types travel. */
export type WireSafeArguments<A extends readonly unknown[]> =
  false extends IsWireSafe<A[number]> ? ArgumentsAreNotWireSafe : unknown;
