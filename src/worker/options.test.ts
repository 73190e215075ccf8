import { describe, expect, test } from 'vitest';
import { parseQueues, queueCredits, resolveWorkerOptions } from './options.js';

describe('queues', () => {
  test('a number after the colon caps the share of the queue', () => {
    expect(parseQueues('celery:40,slow:10')).toEqual([
      { name: 'celery', credit: 40 },
      { name: 'slow', credit: 10 },
    ]);
    expect(parseQueues({ celery: 40, slow: 10 })).toEqual(parseQueues('celery:40,slow:10'));
  });

  test('without numbers no queue may take the last slot', () => {
    expect(queueCredits(parseQueues('a,b'), 10)).toEqual([
      { name: 'a', credit: 9 },
      { name: 'b', credit: 9 },
    ]);
    expect(queueCredits(parseQueues('a'), 10)).toEqual([{ name: 'a', credit: 10 }]);
    expect(queueCredits(parseQueues(['a', 'b']), 1)).toEqual([
      { name: 'a', credit: 1 },
      { name: 'b', credit: 1 },
    ]);
  });

  test.each(['', 'a,,b', ' :4', 'a:0'])('%j is refused with a code', (value) => {
    expect(() => parseQueues(value)).toThrow(expect.objectContaining({ code: 'E_CONFIG_RANGE' }));
  });

  test('a queue named twice is a conflict', () => {
    expect(() => parseQueues('a,b,a')).toThrow(expect.objectContaining({ code: 'E_CONFIG_CONFLICT' }));
  });
});

describe('worker options', () => {
  test('the shares of the queues add up to the slots, spread over the threads', () => {
    const { engine, executors } = resolveWorkerOptions({ queues: 'celery:40,slow:10', threads: 2 });
    expect(executors * engine.slotsPerExecutor).toBe(50);
  });

  test('%h in the name is the host', () => {
    expect(resolveWorkerOptions({ name: 'w1@%h' }).engine.name).toMatch(/^w1@.+[^%h]/);
  });

  test.each([
    [{ threads: 0 }, 'E_CONFIG_RANGE'],
    [{ concurrency: 1.5 }, 'E_CONFIG_RANGE'],
    [{ grace: '5' as never }, 'E_CONFIG_RANGE'],
    [{ lease: '10ms' as const }, 'E_CONFIG_RANGE'],
    [{ pool: 'fibers' as never }, 'E_CONFIG_RANGE'],
    [{ name: '' }, 'E_CONFIG_RANGE'],
    [{ name: 'two words' }, 'E_CONFIG_RANGE'],
    [{ name: 'x'.repeat(256) }, 'E_CONFIG_RANGE'],
    [{ grace: '9999999d' as const }, 'E_CONFIG_RANGE'],
    [{ pool: 'async' as const, threads: 2 }, 'E_CONFIG_CONFLICT'],
  ])('%j is refused with %s', (raw, code) => {
    expect(() => resolveWorkerOptions(raw)).toThrow(expect.objectContaining({ code }));
  });
});
