import { describe, expect, test } from 'vitest';
import { KeptResults, stateOf } from './kept-results.js';

const meta = (status: string, result: unknown = null): string => JSON.stringify({ status, result, task_id: 'x' });

describe('the state of a meta', () => {
  test.each([
    ['{"status":"SUCCESS","result":5}', 'SUCCESS'],
    ['{"task_id": "a\\"b", "status": "FAILURE", "result": null, "traceback": null, "children": []}', 'FAILURE'],
    ['{"result": NaN, "status": "PROGRESS"}', 'PROGRESS'],
    ['{"task_id":"\\"status\\":\\"SUCCESS\\"","result":1,"status":"RETRY"}', 'RETRY'],
    ['{"result":{"status":"SUCCESS"}}', null],
    ['[]', null],
    ['', null],
  ])('%s is %s', (text, state) => expect(stateOf(text)).toBe(state));
});

describe('kept results', () => {
  test('a final state is replaced by SUCCESS and nothing else', () => {
    const kept = new KeptResults();
    for (const [state, expected] of [
      ['STARTED', 'STARTED'],
      ['FAILURE', 'FAILURE'],
      ['RETRY', 'FAILURE'],
      ['SUCCESS', 'SUCCESS'],
      ['REVOKED', 'SUCCESS'],
    ] as const) {
      expect(kept.put('x', meta(state))).toBe(true);
      expect(kept.get('x')).toBe(meta(expected));
    }
    expect(kept.put('x', 'no meta')).toBe(false);
  });

  test('no more are kept than the limit, the oldest go first, and what was dropped is counted', () => {
    const kept = new KeptResults({ results: 3, characters: 1e9, ageMs: 1e9 });
    for (const id of ['a', 'b', 'c', 'a', 'd']) kept.put(id, meta('STARTED', id));
    // `a` came again, so `b` was the oldest
    expect(['a', 'b', 'c', 'd'].map((id) => kept.get(id) !== null)).toEqual([true, false, true, true]);
    expect([kept.size, kept.dropped]).toEqual([3, 1]);
  });

  test('no more characters are kept than the limit, but always the newest', () => {
    const kept = new KeptResults({ results: 1e9, characters: 300, ageMs: 1e9 });
    for (const id of ['a', 'b', 'c']) kept.put(id, meta('SUCCESS', 'x'.repeat(100)));
    expect(kept.size).toBe(2);
    kept.put('large', meta('SUCCESS', 'x'.repeat(1_000)));
    expect([kept.size, kept.get('large') !== null]).toEqual([1, true]);
  });

  test('a result is forgotten after its time', () => {
    let nowMs = 0;
    const kept = new KeptResults({ results: 10, characters: 1e9, ageMs: 1_000 }, () => nowMs);
    kept.put('a', meta('SUCCESS'));
    nowMs = 999;
    expect(kept.get('a')).not.toBeNull();
    nowMs = 1_000;
    expect(kept.get('a')).toBeNull();
    kept.put('b', meta('SUCCESS'));
    expect([kept.size, kept.dropped]).toEqual([1, 0]);
  });

  test('waits leave nothing behind, however they end', () => {
    const kept = new KeptResults();
    const heard: string[] = [];
    const waiter = {
      onFinal: (text: string) => heard.push(text),
      onUpdate: (text: string) => heard.push(`update ${text}`),
      onClosed: (error: Error) => heard.push(error.message),
    };
    const leave = kept.wait('x', waiter);
    kept.put('x', meta('STARTED'));
    kept.put('x', meta('SUCCESS'));
    leave();
    kept.wait('y', waiter);
    kept.close(new Error('closed'));
    expect(heard).toEqual([`update ${meta('STARTED')}`, meta('SUCCESS'), 'closed']);
  });
});
