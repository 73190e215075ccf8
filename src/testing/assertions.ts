/** Assertions on what was sent. They throw node's AssertionError, which every test runner shows with its difference. */
import { AssertionError } from 'node:assert';
import { isDeepStrictEqual } from 'node:util';
import type { RemoteTask } from '../app/task-types.js';
import { decodeJson, encodeJson } from '../wire/serializers/json.js';
import type { SentTask } from './sent-tasks.js';

/** Any task that can be sent. */
export type AnyTask = Pick<RemoteTask<never, unknown>, 'name'>;

/** How many sends a message lists. */
const MAX_LISTED = 20;

/** What a value is after its way over the wire: members that are `undefined` are gone, and so on. */
function travelled(value: unknown): unknown {
  return decodeJson(encodeJson(value));
}

/** The arguments as they were given to `send`: an object task's input is its keywords. */
function givenTo({ args, kwargs }: SentTask): readonly unknown[] {
  return args.length === 0 && Object.keys(kwargs).length > 0 ? [kwargs] : args;
}

function withoutTrailing(args: readonly unknown[]): readonly unknown[] {
  let { length } = args;
  while (length > 0 && args[length - 1] === undefined) length -= 1;
  return args.slice(0, length);
}

function listed(sent: readonly SentTask[]): string {
  if (sent.length === 0) return 'nothing was sent';
  const lines = sent.slice(-MAX_LISTED).map(
    (one) =>
      `  ${one.task}(${givenTo(one)
        .map((value) => encodeJson(value))
        .join(', ')})`,
  );
  return `${sent.length} sent${sent.length > MAX_LISTED ? `, the last ${MAX_LISTED}` : ''}:\n${lines.join('\n')}`;
}

/**
 * The sends of a task with exactly these arguments; without arguments, all sends of the task.
 * @throws AssertionError when there is none
 */
export function expectSent(sent: readonly SentTask[], task: AnyTask, args: readonly unknown[] | null): SentTask {
  const expected = args === null ? null : travelled(withoutTrailing(args));
  const ofTask = sent.filter((one) => one.task === task.name);
  const found = ofTask.find(
    (one) =>
      expected === null || isDeepStrictEqual(givenTo(one), expected) || (isEmptyInput(expected) && givenTo(one).length === 0),
  );
  if (found) return found;
  throw new AssertionError({
    message: `expected ${task.name} to have been sent${args === null ? '' : ` with ${encodeJson(args)}`}; ${listed(sent)}`,
    actual: ofTask.map(givenTo),
    expected: expected === null ? 'at least one send' : [expected],
    operator: 'expectSent',
    stackStartFn: expectSent,
  });
}

/** An object task's empty input travels as no keywords at all. */
function isEmptyInput(args: unknown): boolean {
  return isDeepStrictEqual(args, [{}]);
}

/** @throws AssertionError when the task was sent */
export function expectNotSent(sent: readonly SentTask[], task: AnyTask): void {
  const ofTask = sent.filter((one) => one.task === task.name);
  if (ofTask.length === 0) return;
  throw new AssertionError({
    message: `expected ${task.name} not to have been sent; ${listed(ofTask)}`,
    actual: ofTask.map(givenTo),
    expected: [],
    operator: 'expectNotSent',
    stackStartFn: expectNotSent,
  });
}
