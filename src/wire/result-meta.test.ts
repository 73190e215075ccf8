import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { travelling } from '../../tests/vectors/travelling.js';
import { WireError } from '../core/errors.js';
import { decodeResultMeta, encodeResultMeta, encodeRpcMeta, type ResultMetaInput } from './result-meta.js';
import { encodeJson } from './serializers/json.js';

const META: ResultMetaInput = {
  status: 'SUCCESS',
  resultJson: '5',
  traceback: null,
  children: [],
  dateDone: Date.UTC(2026, 0, 1),
  taskId: 'i',
};

describe('result metas', () => {
  test('are written in Celery’s order, optional fields only when they are set', () => {
    expect(encodeResultMeta(META)).toBe(
      '{"status":"SUCCESS","result":5,"traceback":null,"children":[],"date_done":"2026-01-01T00:00:00+00:00","task_id":"i"}',
    );
    expect(
      encodeResultMeta({
        ...META,
        children: ['a', { group: 'g', members: ['b'] }],
        dateDone: null,
        groupId: 'g"',
        parentId: 'p',
        extended: { name: 'n', args: [new Date(0)], retries: 0, queue: null },
      }),
    ).toBe(
      '{"status":"SUCCESS","result":5,"traceback":null,"children":[[["a",null],null],[["g",null],[[["b",null],null]]]],"date_done":null,' +
        '"group_id":"g\\"","parent_id":"p","name":"n","args":[{"__type__":"datetime","__value__":"1970-01-01T00:00:00+00:00"}],"retries":0,"queue":null,"task_id":"i"}',
    );
    expect(encodeRpcMeta({ ...META, children: null })).toBe(
      '{"task_id":"i","status":"SUCCESS","result":5,"traceback":null,"children":null}',
    );
  });

  test('are read in every form of Celery, also without offset and with children of groups', () => {
    const text =
      '{"status":"SUCCESS","result":{"a":NaN},"traceback":null,"children":[[["a",["root",null]],null],[["g",null],[[["b",null],null]]],5,null,[]],"date_done":"2026-01-01T00:00:00.5","task_id":"i"}';
    expect(decodeResultMeta(text)).toEqual({
      status: 'SUCCESS',
      result: { a: Number.NaN },
      traceback: null,
      children: ['a', 'b'],
      childTree: ['a', { group: 'g', members: ['b'] }],
      dateDone: new Date('2026-01-01T00:00:00.500Z'),
      taskId: 'i',
      groupId: null,
      parentId: null,
      extended: null,
    });
    expect(decodeResultMeta('{"status":"PENDING"}')).toMatchObject({ result: null, children: null, dateDone: null, taskId: '' });
    expect(decodeResultMeta('{"status":"X","worker":"w","args":[1]}').extended).toEqual({
      name: null,
      args: [1],
      kwargs: undefined,
      worker: 'w',
      queue: null,
    });
  });

  test.each(['', 'null', '[]', '{}', '{"status":1}', '{"status":"SUCCESS","result":{"__proto__":1}}'])(
    '%j is no result',
    (text) => {
      expect(() => decodeResultMeta(text)).toThrow(WireError);
    },
  );

  test('any result comes back equal', () => {
    fc.assert(
      fc.property(travelling, fc.string(), fc.option(fc.string({ minLength: 1 })), (result, traceback, parentId) => {
        const text = encodeResultMeta({ ...META, resultJson: encodeJson(result), traceback, parentId });
        expect(decodeResultMeta(text)).toMatchObject({ traceback, parentId, dateDone: new Date(META.dateDone as number) });
        expect(decodeResultMeta(text).result).toEqual(result);
      }),
    );
  });
});
