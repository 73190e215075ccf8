/**
 * Celery's tasks that every worker has (wire section 7.7): parts of canvas that run in one task. They are in no registry, so no app can
 * be seen to have defined them.
 */
import { ArgumentError, TaskError } from '../../core/errors.js';
import { parseSignature } from '../../wire/signature.js';
import type { TaskDefinition } from '../definition.js';
import type { Registry } from '../registry.js';
import { chordUnlock, UNLOCK_RETRY, type UnlockPlace } from './chord-unlock.js';

type Execute = TaskDefinition['execute'];

const OPTIONS: TaskDefinition['options'] = Object.freeze({
  ...{ queue: null, retry: null, softTimeLimitMs: null, timeLimitMs: null, rateLimit: null, ack: 'late', ignoreResult: false },
  ...{ resultTtlMs: null, trackStarted: false, isExpected: () => false },
});

const UNLOCK_OPTIONS: TaskDefinition['options'] = Object.freeze({ ...OPTIONS, retry: UNLOCK_RETRY, ignoreResult: true });

const nowhere = (): never => {
  throw new TaskError('E_NO_CONTEXT', 'this task runs on workers only');
};
const NOWHERE: UnlockPlace = { getResults: nowhere, endChord: nowhere };

/** The rows of `celery.map` and `celery.starmap`, and the task that takes them. */
function rowsOf(kwargs: Readonly<Record<string, unknown>>, registry: Registry, what: string) {
  const { task, it } = kwargs;
  const signature = parseSignature(task, `${what}: task`);
  if (!Array.isArray(it)) throw new ArgumentError('E_ARGUMENTS', `${what}: it is no array`);
  const definition = registry.get(signature.task);
  if (!definition)
    throw new ArgumentError('E_ARGUMENTS', `${what}: no task named ${JSON.stringify(signature.task)} is registered here`);
  return { signature, definition, rows: it as unknown[] };
}

/** One row after the other, as in Celery: the result of all is the list of their results. */
const mapping =
  (name: string, registry: Registry, argsOf: (row: unknown) => readonly unknown[]): Execute =>
  async (_args, kwargs, context) => {
    const { signature, definition, rows } = rowsOf(kwargs, registry, name);
    const results: unknown[] = [];
    for (const row of rows) {
      context.signal.throwIfAborted();
      results.push((await definition.execute([...argsOf(row), ...signature.args], signature.kwargs, context)) ?? null);
    }
    return results;
  };

/** By name. @param place of a worker: absent, the tasks are only looked at */
export function builtinTasks(registry: Registry, place: UnlockPlace = NOWHERE): ReadonlyMap<string, TaskDefinition> {
  const asRow = (row: unknown): readonly unknown[] => {
    if (Array.isArray(row)) return row as unknown[];
    throw new ArgumentError('E_ARGUMENTS', 'celery.starmap: a row is no array of arguments');
  };
  const tasks: Readonly<Record<string, Execute>> = {
    'celery.accumulate': (args, { index }) => (typeof index === 'number' ? (args.at(index) ?? null) : args),
    'celery.chord_unlock': chordUnlock(place),
    'celery.map': mapping('celery.map', registry, (row) => [row]),
    'celery.starmap': mapping('celery.starmap', registry, asRow),
  };
  return new Map(
    Object.entries(tasks).map(([name, execute]) => [
      name,
      {
        name,
        options: name === 'celery.chord_unlock' ? UNLOCK_OPTIONS : OPTIONS,
        execute,
        onSuccess: null,
        onFailure: null,
        onRetry: null,
        onExhausted: null,
      },
    ]),
  );
}
