import { describe, expect, test } from 'vitest';
import { checkEventType, encodeEventFields } from './own-events.js';

describe('events that tasks send themselves', () => {
  test.each(['task-page', 'task-a-b2', 'task-9'])('may be called %s', (type) => {
    expect(checkEventType(type)).toBe(type);
  });

  test.each([
    'task-succeeded',
    'task-received',
    'page',
    'task-',
    'task',
    'worker-page',
    'Task-Page',
    'task-a.b',
    'task-#',
    `task-${'x'.repeat(100)}`,
    5,
  ])('may not be called %s', (type) => {
    expect(() => checkEventType(type as string)).toThrow(expect.objectContaining({ code: 'E_CONFIG_RANGE' }));
  });

  test('have fields that JSON knows, and not too many of them', () => {
    expect(encodeEventFields({ page: 3, of: null }, 'plain')).toBe('{"page":3,"of":null}');
    expect(() => encodeEventFields({ text: 'x'.repeat(16_384) }, 'plain')).toThrow(
      expect.objectContaining({ code: 'E_MESSAGE_TOO_LARGE' }),
    );
    for (const odd of [{ f: () => 1 }, [1], null, 'text'])
      expect(() => encodeEventFields(odd as never, 'plain')).toThrow(expect.objectContaining({ code: 'E_NOT_SERIALISABLE' }));
  });
});
