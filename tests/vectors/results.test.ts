/** Every result that Python stored or published. */
import { describe, expect, test } from 'vitest';
import { decodeException, pythonError } from '../../src/wire/exception-info.js';
import { decodeResultMeta, encodeResultMeta } from '../../src/wire/result-meta.js';
import { decodeJson, encodeJson } from '../../src/wire/serializers/json.js';
import { holdsException, isFinalState } from '../../src/wire/task-states.js';
import { cutTime, exact } from './compare.js';
import { unitsOfKind } from './vector-files.js';

describe('results recorded from Celery', () => {
  test.each(unitsOfKind('meta'))('$where', ({ id, text }) => {
    const recorded = exact(text) as Record<string, unknown>;
    const meta = decodeResultMeta(text);
    expect(meta.taskId).toBe(id);
    expect(meta.dateDone !== null).toBe(isFinalState(meta.status));
    const again = encodeResultMeta({
      ...meta,
      children: meta.childTree,
      resultJson: encodeJson(meta.result),
      dateDone: meta.dateDone?.getTime() ?? null,
    });
    const done = recorded.date_done;
    expect(exact(again)).toEqual({ ...recorded, date_done: typeof done === 'string' ? cutTime(done) : null });
    // Celery's readers do not care for the order, people who compare texts do
    expect(Object.keys(exact(again) as object)).toEqual(Object.keys(recorded));

    if (holdsException(meta.status) && meta.result !== null) {
      const { type, message, module } = decodeException(meta.result);
      const given = recorded.result as { exc_type: string; exc_message: unknown[]; exc_module: string | null };
      expect({ type, module }).toEqual({ type: given.exc_type, module: given.exc_module });
      expect(message).toContain(String(given.exc_message[0] ?? ''));
      expect(exact(pythonError(type, given.exc_message, module))).toEqual(given);
    }
  });

  test.each(unitsOfKind('json'))('$where is written again as it was', ({ text }) => {
    expect(exact(encodeJson(decodeJson(text)))).toEqual(exact(text));
  });

  test('an unknown task is stored exactly as Celery stores it', () => {
    const units = unitsOfKind('meta').filter((unit) => unit.vector.name === 'h-redis-unknown-task');
    expect(units.length).toBeGreaterThan(0);
    for (const { text } of units)
      expect(exact(pythonError('NotRegistered', ['no.such.task']))).toEqual((exact(text) as { result: unknown }).result);
  });
});
