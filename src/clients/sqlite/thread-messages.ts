/** What a client and its writer thread say to each other. Types only; everything can be cloned. */
import type { FileLocation } from './location.js';
import type { CallOptions } from './operations.js';

/** An error of ours on its way through a port. */
export interface ThreadError {
  readonly code: string;
  readonly message: string;
  readonly stack: string | undefined;
}

/** One call: its number, the operation, its argument, and how to run it. */
export type ThreadCall = readonly [number: number, name: string, argument: unknown, options: CallOptions];

/** One answer: the number of the call, and its value or its error. */
export type ThreadAnswer =
  | readonly [number: number, value: unknown]
  | readonly [number: number, value: undefined, error: ThreadError];

export type ToThread =
  | { readonly type: 'open'; readonly location: FileLocation; readonly timeoutMs: number }
  | { readonly type: 'add'; readonly number: number; readonly name: string; readonly href: string }
  | { readonly type: 'calls'; readonly calls: readonly ThreadCall[] }
  | { readonly type: 'close' };

export type FromThread =
  | { readonly type: 'opened' }
  | { readonly type: 'broken'; readonly error: ThreadError }
  | { readonly type: 'answers'; readonly answers: readonly ThreadAnswer[] }
  | { readonly type: 'warn'; readonly fields: Readonly<Record<string, unknown>>; readonly message: string }
  | { readonly type: 'closed' };
