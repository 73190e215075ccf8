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

describe('pools', () => {
  test.each([
    { pool: 'threads', expected: 2 },
    { pool: 'processes', expected: 2 },
    { pool: 'async', expected: 1 },
    { pool: 'inline', expected: 1 },
  ] as const)('$pool has $expected executors unless told otherwise', ({ pool, expected }) => {
    expect(resolveWorkerOptions({ pool }).executors).toBe(expected);
  });

  test('a child is given no more at once than it may run in all: the rest would wait for nothing', () => {
    const { engine } = resolveWorkerOptions({ pool: 'processes', processes: 4, concurrency: 40, maxTasksPerChild: 3 });
    expect(engine).toMatchObject({ slotsPerExecutor: 3, tasksPerExecutor: 3 });
    expect(resolveWorkerOptions({ pool: 'processes', concurrency: 40, maxTasksPerChild: 100 }).engine.slotsPerExecutor).toBe(20);
  });

  test('the memory of a child is a size, and a spare is there unless it is denied', () => {
    expect(resolveWorkerOptions({ pool: 'processes', maxMemoryPerChild: '300MiB' })).toMatchObject({
      childMemoryBytes: 314_572_800,
      spare: true,
    });
    expect(resolveWorkerOptions({ pool: 'processes', spare: false }).spare).toBe(false);
    expect(resolveWorkerOptions({ pool: 'threads' }).spare).toBe(false);
    expect(() => resolveWorkerOptions({ pool: 'processes', maxMemoryPerChild: '300' as '300MB' })).toThrow(
      expect.objectContaining({ code: 'E_CONFIG_RANGE' }),
    );
  });

  test.each([
    { pool: 'processes', threads: 2 },
    { pool: 'threads', processes: 2 },
    { processes: 2 },
    { pool: 'threads', maxTasksPerChild: 2 },
    { pool: 'async', maxMemoryPerChild: '1GiB' },
    { pool: 'inline', spare: true },
  ] as const)('an option of another pool is a conflict: %j', (options) => {
    expect(() => resolveWorkerOptions(options)).toThrow(expect.objectContaining({ code: 'E_CONFIG_CONFLICT' }));
  });

  test('scaled by load begins with its least, which the slots are shared out over', () => {
    const { executors, engine } = resolveWorkerOptions({ pool: 'processes', autoscale: { max: 8, min: 2 }, concurrency: 20 });
    expect(executors).toBe(2);
    expect(engine).toMatchObject({ pool: 'processes', slotsPerExecutor: 10, autoscale: { max: 8, min: 2 } });
    expect(resolveWorkerOptions({ autoscale: { max: 3 } }).engine.autoscale).toEqual({ max: 3, min: 1 });
    expect(resolveWorkerOptions({}).engine.autoscale).toBeNull();
  });

  test.each([
    { options: { autoscale: { max: 2, min: 3 } }, code: 'E_CONFIG_RANGE' },
    { options: { autoscale: { max: 1_000 } }, code: 'E_CONFIG_RANGE' },
    { options: { autoscale: { max: 2 }, threads: 2 }, code: 'E_CONFIG_CONFLICT' },
    { options: { autoscale: { max: 2 }, pool: 'async' as const }, code: 'E_CONFIG_CONFLICT' },
  ])('refuses to scale by $options', ({ options, code }) => {
    expect(() => resolveWorkerOptions(options)).toThrow(expect.objectContaining({ code }));
  });

  test('a pool that does not exist is refused with those that do', () => {
    expect(() => resolveWorkerOptions({ pool: 'prefork' as 'threads' })).toThrow(/'threads', 'processes', 'async', 'inline'/);
  });
});
