import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LovageError, WireError } from '../core/errors.js';
import type { WireMessage } from './message.js';
import { decodeTaskBody, upgradeProtocol1 } from './task-body.js';
import { readTaskHeaders, userHeaders } from './task-headers.js';
import { encodeTaskMessage } from './task-message.js';

const MESSAGE: WireMessage = encodeTaskMessage({ task: 'math.add', id: 'id-1', args: [1, 2], kwargs: {} }, { nowMs: 0 });
const withBody = (data: string): WireMessage => ({ ...MESSAGE, body: { encoding: 'utf8', data } });

describe('decodeTaskBody', () => {
  test('takes an embed that is empty or null', () => {
    for (const embed of ['{}', 'null', '{"callbacks":null}']) {
      expect(decodeTaskBody(withBody(`[[1],{"a":2},${embed}]`))).toEqual({
        args: [1],
        kwargs: { a: 2 },
        embed: { callbacks: null, errbacks: null, chain: null, chord: null },
      });
    }
    expect(decodeTaskBody(withBody('[[],{},{"callbacks":[],"chord":{"task":"x"}}]')).embed).toMatchObject({
      callbacks: [],
      chord: { task: 'x' },
    });
  });

  test.each([
    ['two items', '[[],{}]', 'the body has 2 items'],
    ['four items', '[[],{},{},1]', 'the body has 4 items'],
    ['an object', '{"a":1}', 'the body is an object'],
    ['nothing', '', 'not JSON'],
    ['null', 'null', 'the body is null'],
    ['kwargs that are no object', '[[],[],{}]', 'kwargs is an array'],
    ['kwargs that are null', '[[],null,{}]', 'kwargs is null'],
    ['kwargs that are a typed value', '[[],{"__type__":"date","__value__":"2024-02-29"},{}]', 'kwargs is a typed value'],
    ['an embed that is no object', '[[],{},[]]', 'embed is an array'],
    ['callbacks that are no array', '[[],{},{"callbacks":{}}]', 'embed.callbacks is an object'],
    ['a chord that is no signature', '[[],{},{"chord":"x"}]', 'embed.chord is a string'],
    ['a key that could change prototypes', '[[],{"__proto__":{"admin":true}},{}]', 'a key named __proto__'],
  ])('refuses %s', (_what, data, message) => {
    expect(() => decodeTaskBody(withBody(data))).toThrow(WireError);
    expect(() => decodeTaskBody(withBody(data))).toThrow(message);
  });

  test('args that are no array are wrong arguments: the sender gets a FAILURE, as from Python', () => {
    expect(() => decodeTaskBody(withBody('[null,{},{}]'))).toThrow(expect.objectContaining({ code: 'E_ARGUMENTS' }));
  });

  test('a body of any kind gives a body or an error with a code', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.jsonValue().map((value) => JSON.stringify(value)),
          fc.array(fc.jsonValue(), { maxLength: 4 }).map((value) => JSON.stringify(value)),
        ),
        (data) => {
          try {
            expect(Array.isArray(decodeTaskBody(withBody(data)).args)).toBe(true);
          } catch (error) {
            expect(error).toBeInstanceOf(LovageError);
          }
        },
      ),
      { numRuns: 1000 },
    );
  });
});

describe('upgradeProtocol1', () => {
  const old = (body: unknown): WireMessage => ({ ...withBody(JSON.stringify(body)), headers: {} });

  test('makes headers of the body, and keeps user headers', () => {
    const body = {
      task: 'a',
      id: 'i',
      args: [1],
      kwargs: { k: 2 },
      retries: 1,
      eta: '2026-01-01T00:00:00',
      taskset: 'g',
      timelimit: [5, null],
      callbacks: [{ task: 'c' }],
    };
    const upgraded = upgradeProtocol1({ ...old(body), headers: { tenant: 'acme' } });
    expect(readTaskHeaders(upgraded)).toMatchObject({
      task: 'a',
      id: 'i',
      retries: 1,
      groupId: 'g',
      timeLimitMs: 5000,
      argsrepr: '(1,)',
      etaMs: Date.UTC(2026, 0, 1),
    });
    expect(decodeTaskBody(upgraded)).toMatchObject({
      args: [1],
      kwargs: { k: 2 },
      embed: { callbacks: [{ task: 'c' }], chain: null },
    });
    expect(userHeaders(upgraded.headers)).toEqual({ tenant: 'acme' });
  });

  test('args and kwargs may be absent', () => {
    expect(decodeTaskBody(upgradeProtocol1(old({ task: 'a', id: 'i' })))).toMatchObject({ args: [], kwargs: {} });
  });

  test.each([[[[], {}, {}]], [{ id: 'i' }], [null], [{ task: 'a', id: 'i', kwargs: [] }], [{ task: 'a', id: 'i', args: {} }]])(
    'refuses %j',
    (body) => {
      expect(() => upgradeProtocol1(old(body))).toThrow(expect.objectContaining({ code: 'E_DECODE' }));
    },
  );

  test('a task without an id is refused when its headers are read', () => {
    expect(() => readTaskHeaders(upgradeProtocol1(old({ task: 'a' })))).toThrow('the header id is missing');
  });
});
