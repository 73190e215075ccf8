/** The context of `task.run()`: a task that runs in place, without broker and worker. */
import { randomUUID } from 'node:crypto';
import { durationMs } from '../core/duration.js';
import { TaskError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import type { JsonMode } from '../wire/serializers/json.js';
import { type ActiveRun, activeRun, ReplaceSignal, RetrySignal, type TaskContext } from './task-context.js';
import { localSteps, type TaskSteps } from './task-steps.js';

/** What a context needs of the app and the task. */
export interface InlineRunSetup {
  readonly name: string;
  readonly queue: string;
  readonly maxAttempts: number;
  readonly logger: () => Logger;
  readonly json: JsonMode;
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

/** Same id, signal and logger as the task that calls; what it was called with differs, and its steps are not those of the caller. */
function within(
  outer: TaskContext,
  setup: InlineRunSetup,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
): TaskContext {
  return {
    ...{ id: outer.id, name: setup.name, args, kwargs, queue: outer.queue, attempt: outer.attempt },
    ...{ maxAttempts: outer.maxAttempts, rootId: outer.rootId, parentId: outer.parentId, groupId: outer.groupId },
    ...{ headers: outer.headers, stamps: outer.stamps, eta: outer.eta, expires: outer.expires, redelivered: outer.redelivered },
    get signal(): AbortSignal {
      return outer.signal;
    },
    get log(): Logger {
      return outer.log;
    },
    progress: (...told) => outer.progress(...told),
    updateState: (...told) => outer.updateState(...told),
    sendEvent: (...told) => outer.sendEvent(...told),
    retry: (...told) => outer.retry(...told),
    step: stepsOf(setup),
    replace: (signature) => outer.replace(signature),
    addToChord: (signature) => outer.addToChord(signature),
  };
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
    stamps: {},
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
    step: stepsOf(setup),
    replace: (signature) => new ReplaceSignal(signature),
    addToChord: async () => {
      throw new TaskError('E_NO_CHORD', 'addToChord() was called in a task that runs in place: it is no part of a chord');
    },
    retry: (options = {}) =>
      new RetrySignal(options.in === undefined ? null : durationMs(options.in, 'retry in'), options.because),
  };
}

/** Kept for this call. */
function stepsOf({ json }: InlineRunSetup): TaskContext['step'] {
  let steps: TaskSteps | null = null;
  return (name, work) => {
    steps ??= localSteps(json);
    return steps.run(name, work, () => {});
  };
}
