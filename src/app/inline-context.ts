/** The context of `task.run()`: a task that runs in place, without broker and worker. */
import { randomUUID } from 'node:crypto';
import { durationMs } from '../core/duration.js';
import type { Logger } from '../core/logger.js';
import { type ActiveRun, activeRun, RetrySignal, type TaskContext } from './task-context.js';

/** What a context needs of the app and the task. */
export interface InlineRunSetup {
  readonly name: string;
  readonly queue: string;
  readonly maxAttempts: number;
  readonly logger: () => Logger;
}

/** Runs `work` with a context; inside a running task it goes on as a part of that task. */
export function runInline(
  setup: InlineRunSetup,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
  work: (context: TaskContext) => unknown,
): unknown {
  const outer = activeRun.getStore();
  const context = outer ? within(outer.context, setup, args, kwargs) : alone(setup, args, kwargs);
  const run: ActiveRun = { context, children: outer?.children ?? [] };
  return activeRun.run(run, work, context);
}

/** Same id, signal and logger as the task that calls; only what it was called with differs. */
function within(
  outer: TaskContext,
  setup: InlineRunSetup,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
): TaskContext {
  return Object.create(outer, {
    name: { value: setup.name, enumerable: true },
    args: { value: args, enumerable: true },
    kwargs: { value: kwargs, enumerable: true },
  }) as TaskContext;
}

function alone(setup: InlineRunSetup, args: readonly unknown[], kwargs: Readonly<Record<string, unknown>>): TaskContext {
  const id = randomUUID();
  let log: Logger | null = null;
  return {
    id,
    name: setup.name,
    args,
    kwargs,
    queue: setup.queue,
    attempt: 1,
    maxAttempts: setup.maxAttempts,
    rootId: id,
    parentId: null,
    groupId: null,
    headers: {},
    eta: null,
    expires: null,
    redelivered: false,
    signal: new AbortController().signal,
    get log(): Logger {
      log ??= setup.logger().child({ id, task: setup.name });
      return log;
    },
    progress() {},
    updateState() {},
    sendEvent() {},
    retry: (options = {}) =>
      new RetrySignal(options.in === undefined ? null : durationMs(options.in, 'retry in'), options.because),
  };
}
