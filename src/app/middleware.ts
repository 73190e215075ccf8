/**
 * Middleware: what should happen around every send and every run, in one visible list (`createApp({ middleware })`). The
 * first is outermost. Observing without changing anything is what events are for.
 */
import { ConfigError, PublishError } from '../core/errors.js';
import { checkKeys, checkObject } from './config-schema.js';
import type { TaskContext } from './task-context.js';

/**
 * A send on its way out; a publish hook may pass on a changed copy. Of a workflow there is one for each task, when it is sent: of a step
 * that waits for the one before, `args` are those that are bound.
 */
export interface PublishRequest {
  /** Of a task in a workflow it cannot be changed, and is empty for callbacks and errbacks, which get theirs later. */
  readonly id: string;
  readonly task: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly queue: string;
  /** 0 to 9, higher = sooner; `undefined`: the broker's default. */
  readonly priority: number | undefined;
  /** User headers, which the task finds in `ctx.headers`. */
  readonly headers: Readonly<Record<string, HeaderValue>>;
}

/** What a user header may hold: what every broker and Python keep as it is. */
export type HeaderValue = string | number | boolean | null;

/**
 * Around a send. `next` resolves once the broker has confirmed; of a workflow, what of it is sent at once. Throwing instead of calling it refuses the send.
 * Must return (or await) what `next` returns.
 */
export type PublishMiddleware = (request: PublishRequest, next: (request: PublishRequest) => Promise<void>) => Promise<void>;

/** Around a run, in the executor: `next` runs the rest and resolves with the task's result. */
export type ExecuteMiddleware = (context: TaskContext, next: () => Promise<unknown>) => unknown;

/** One entry of the list. */
export interface Middleware {
  /** For messages and logs. */
  readonly name: string;
  readonly publish?: PublishMiddleware;
  readonly execute?: ExecuteMiddleware;
}

/** The list, split by side, in order. */
export interface ResolvedMiddleware {
  readonly all: readonly Middleware[];
  readonly publish: readonly (Middleware & { readonly publish: PublishMiddleware })[];
  readonly execute: readonly ExecuteMiddleware[];
}

const KEYS: ReadonlySet<string> = new Set(['name', 'publish', 'execute']);

/** @throws ConfigError `E_CONFIG_TYPE`, `E_CONFIG_UNKNOWN_KEY` */
export function resolveMiddleware(list: readonly Middleware[]): ResolvedMiddleware {
  for (const [index, entry] of list.entries()) {
    const what = `middleware[${index}]`;
    checkObject(entry, what);
    checkKeys(entry, KEYS, what);
    if (typeof entry.name !== 'string' || entry.name === '')
      throw new ConfigError('E_CONFIG_TYPE', `${what} has no name: give it one for messages and logs`);
    for (const hook of ['publish', 'execute'] as const) {
      if (entry[hook] !== undefined && typeof entry[hook] !== 'function')
        throw new ConfigError('E_CONFIG_TYPE', `${what}.${hook} is not a function`);
    }
  }
  return {
    all: list,
    publish: list.filter((entry): entry is Middleware & { readonly publish: PublishMiddleware } => entry.publish !== undefined),
    execute: list.flatMap((entry) => (entry.execute ? [entry.execute] : [])),
  };
}

/** Runs the publish hooks around `last`. A hook that returns without calling `next` has dropped a task: that is an error. */
export async function runPublishMiddleware(
  list: ResolvedMiddleware['publish'],
  request: PublishRequest,
  last: (request: PublishRequest) => Promise<void>,
): Promise<void> {
  const call = async (index: number, current: PublishRequest): Promise<void> => {
    const layer = list[index];
    if (!layer) return last(current);
    let calls = 0;
    await layer.publish(current, (changed) => {
      calls += 1;
      if (calls > 1) return Promise.reject(misuse(layer.name, 'called next() twice', request));
      return call(index + 1, changed ?? current);
    });
    if (calls === 0) throw misuse(layer.name, 'did not call next(): throw an error to refuse a send', request);
  };
  return call(0, request);
}

function misuse(name: string, what: string, request: PublishRequest): PublishError {
  return new PublishError(
    'E_PUBLISH_FAILED',
    `middleware ${JSON.stringify(name)} ${what} (task ${request.task}, id ${request.id})`,
    {
      outcome: 'not-sent',
      taskId: request.id,
    },
  );
}
