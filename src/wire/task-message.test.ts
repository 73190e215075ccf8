import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ArgumentError, LovageError, WireError } from '../core/errors.js';
import type { WireMessage } from './message.js';
import {
  decodeTaskBody,
  encodeTaskMessage,
  readTaskHeaders,
  retrySuccessor,
  type TaskCall,
  upgradeProtocol1,
  userHeaders,
} from './task-message.js';

const CALL: TaskCall = { task: 'math.add', id: 'id-1', args: [1, 2], kwargs: {} };
const NOW = Date.UTC(2026, 10, 21);
const encode = (call: Partial<TaskCall> = {}, options = {}): WireMessage =>
  encodeTaskMessage({ ...CALL, ...call }, { nowMs: NOW, ...options });
const withHeaders = (headers: Record<string, unknown>): WireMessage => ({
  ...encode(),
  headers: { ...encode().headers, ...headers },
});
const withBody = (data: string): WireMessage => ({ ...encode(), body: { encoding: 'utf8', data } });

describe('encodeTaskMessage', () => {
  test('writes every header of protocol 2, in order, with its default', () => {
    expect(Object.entries(encode().headers)).toEqual([
      ['lang', 'js'],
      ['task', 'math.add'],
      ['id', 'id-1'],
      ['shadow', null],
      ['eta', null],
      ['expires', null],
      ['group', null],
      ['group_index', null],
      ['retries', 0],
      ['timelimit', [null, null]],
      ['root_id', 'id-1'],
      ['parent_id', null],
      ['argsrepr', '(1, 2)'],
      ['kwargsrepr', '{}'],
      ['origin', 'lovage'],
      ['ignore_result', false],
      ['replaced_task_nesting', 0],
      ['stamped_headers', null],
      ['stamps', {}],
    ]);
    expect(encode()).toMatchObject({
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      properties: { correlation_id: 'id-1', reply_to: '', delivery_mode: 2, priority: 0 },
      body: { encoding: 'utf8', data: '[[1,2],{},{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]' },
    });
  });

  test('expires is a header and the time left as a property; what is past has no time left', () => {
    const soon = encode({ expires: new Date(NOW + 60_000) });
    expect([soon.headers.expires, soon.properties.expiration]).toEqual(['2026-11-21T00:01:00+00:00', '60000']);
    expect(encode({ expires: new Date(NOW - 1) }).properties.expiration).toBe('0');
    expect(encode().properties).not.toHaveProperty('expiration');
  });

  test.each([
    ['a limit', { timeLimitMs: 30_000, softTimeLimitMs: 20_500 }, { timelimit: [30, 20.5] }],
    ['an eta as text with its offset', { eta: '2030-01-01T12:00:00+02:00' }, { eta: '2030-01-01T12:00:00+02:00' }],
    ['user headers', { headers: { tenant: 'acme', gone: undefined } }, { tenant: 'acme' }],
    ['stamps', { stampedHeaders: ['a'], stamps: { a: [1] } }, { stamped_headers: ['a'], stamps: { a: [1] } }],
    [
      'secret arguments',
      { args: ['pw'], kwargs: { token: 'x' }, secretArgs: [0, 'token'] as const },
      { argsrepr: "('***',)", kwargsrepr: "{'token': '***'}" },
    ],
  ])('writes %s', (_what, call, headers) => {
    expect(encode(call).headers).toMatchObject(headers);
    expect(encode(call).headers).not.toHaveProperty('gone');
  });

  test.each([
    [
      'a function',
      { args: [{ save() {} }] },
      'E_NOT_SERIALISABLE',
      'args[0].save is a function: pass the id and load the row inside the task',
    ],
    [
      'a class instance by keyword',
      { kwargs: { row: new (class Row {})() } },
      'E_NOT_SERIALISABLE',
      'kwargs.row is an instance of Row',
    ],
    [
      'a signature that cannot travel',
      { chain: [{ task: 'x', args: [() => 1] }] },
      'E_NOT_SERIALISABLE',
      'chain[0].args[0] is a function',
    ],
    [
      'a protocol header among user headers',
      { headers: { task: 'other' } },
      'E_ARGUMENTS',
      'headers.task is a header of the protocol',
    ],
    [
      'a user header that is no JSON',
      { headers: { when: new Date() } },
      'E_NOT_SERIALISABLE',
      'headers.when is not a plain JSON value',
    ],
    ['a user header with a name that AMQP cannot hold', { headers: { ['x'.repeat(256)]: 1 } }, 'E_ARGUMENTS', '255 fit'],
    ['an eta that is no time', { eta: 'tomorrow' }, 'E_ARGUMENTS', 'eta is "tomorrow", not a time'],
    ['an invalid Date', { expires: new Date(Number.NaN) }, 'E_ARGUMENTS', 'expires is "Invalid Date", not a time'],
    ['an empty id', { id: '' }, 'E_ARGUMENTS', 'the id is empty'],
    ['an id that AMQP cannot hold', { id: 'é'.repeat(128) }, 'E_ARGUMENTS', 'takes 256 bytes; 255 fit'],
    ['an empty task name', { task: '' }, 'E_ARGUMENTS', 'the task is empty'],
  ])('refuses %s', (_what, call, code, message) => {
    expect(() => encode(call)).toThrow(ArgumentError);
    expect(() => encode(call)).toThrow(expect.objectContaining({ code }));
    expect(() => encode(call)).toThrow(message);
  });

  test('refuses a body over the limit, counted in bytes', () => {
    const overhead = encode({ args: [''] }).body.data.length;
    const fits = 'x'.repeat(1000 - overhead);
    expect(() => encode({ args: [fits] }, { maxMessageBytes: 1000 })).not.toThrow();
    expect(() => encode({ args: [`${fits}xx`] }, { maxMessageBytes: 1000 })).toThrow(
      expect.objectContaining({ code: 'E_MESSAGE_TOO_LARGE' }),
    );
    expect(() => encode({ args: [fits.replaceAll('x', 'é')] }, { maxMessageBytes: 1000 })).toThrow(
      'more than maxMessageSize (1000)',
    );
  });

  test('what is encoded is decoded, with every serializer and compressed too', () => {
    const call = {
      args: ['é', 1, null, [true]],
      kwargs: { k: { deep: ['x'] } },
      chain: [{ task: 'next', args: [], kwargs: {} }],
    };
    for (const serializer of ['json', 'msgpack', 'yaml'] as const) {
      for (const compression of [null, 'gzip'] as const) {
        const message = encode(call, { serializer, compression });
        const { args, kwargs, embed } = decodeTaskBody(message, { accept: [serializer] });
        expect({ args, kwargs, chain: embed.chain }).toEqual(call);
        expect(message.headers.compression).toBe(compression === null ? undefined : 'application/x-gzip');
      }
    }
  });
});

describe('readTaskHeaders', () => {
  test('reads what was written', () => {
    const call = {
      eta: new Date(NOW),
      expires: new Date(NOW + 1),
      retries: 2,
      timeLimitMs: 1500,
      softTimeLimitMs: 1000,
      rootId: 'root',
      parentId: 'parent',
      groupId: 'group',
      groupIndex: 3,
      shadow: 'shown',
      ignoreResult: true,
      replyTo: 'replies',
      origin: 'me',
      stampedHeaders: ['s'],
      stamps: { s: 'v' },
      replacedTaskNesting: 1,
    };
    expect(readTaskHeaders(encode(call))).toEqual({
      task: 'math.add',
      id: 'id-1',
      shadow: 'shown',
      etaMs: NOW,
      expiresMs: NOW + 1,
      groupId: 'group',
      groupIndex: 3,
      retries: 2,
      timeLimitMs: 1500,
      softTimeLimitMs: 1000,
      rootId: 'root',
      parentId: 'parent',
      ignoreResult: true,
      replyTo: 'replies',
      correlationId: 'id-1',
      origin: 'me',
      argsrepr: '(1, 2)',
      kwargsrepr: '{}',
      replacedTaskNesting: 1,
      stampedHeaders: ['s'],
      stamps: { s: 'v' },
    });
  });

  test('needs nothing but a name and an id', () => {
    const message: WireMessage = { ...encode(), headers: { task: 'a', id: 'b' }, properties: {} };
    expect(readTaskHeaders(message)).toMatchObject({
      rootId: 'b',
      retries: 0,
      etaMs: null,
      replyTo: null,
      correlationId: null,
      ignoreResult: false,
    });
  });

  test('takes retries as text and a limit that is null, and ignores limits that are none', () => {
    expect(readTaskHeaders(withHeaders({ retries: '2', timelimit: null }))).toMatchObject({ retries: 2, timeLimitMs: null });
    expect(readTaskHeaders(withHeaders({ timelimit: ['30', {}] }))).toMatchObject({ timeLimitMs: 30_000, softTimeLimitMs: null });
    expect(readTaskHeaders(withHeaders({ timelimit: [-1, 0] }))).toMatchObject({ timeLimitMs: null, softTimeLimitMs: null });
  });

  test('a message without a task header may be protocol 1', () => {
    expect(readTaskHeaders({ ...encode(), headers: { id: 'x' } })).toBeNull();
  });

  test.each([
    ['no id', { id: undefined }, 'the header id is missing, not a task id'],
    ['a number as id', { id: 5 }, 'the header id is a number, not a task id'],
    ['an id that is a megabyte', { id: 'x'.repeat(1_000_000) }, 'the header id is'],
    ['a task name that is none', { task: null }, 'the header task is null, not a task name'],
    ['the text null as eta', { eta: 'null' }, 'the header eta is "null", not a time in ISO 8601 form'],
    ['a number as expires', { expires: 60 }, 'the header expires is a number, not a time'],
    ['retries that are no count', { retries: 'many' }, 'the header retries is "many", not a count'],
    ['negative retries', { retries: -1 }, 'the header retries is a number, not a count'],
  ])('refuses %s', (_what, headers, message) => {
    expect(() => readTaskHeaders(withHeaders(headers))).toThrow(WireError);
    expect(() => readTaskHeaders(withHeaders(headers))).toThrow(message);
  });

  test('headers of any kind give headers, null or a WireError', () => {
    const names = fc.constantFrom(
      'task',
      'id',
      'eta',
      'expires',
      'timelimit',
      'retries',
      'stamps',
      'stamped_headers',
      'group_index',
      'x',
    );
    fc.assert(
      fc.property(fc.dictionary(names, fc.anything()), (headers) => {
        try {
          const read = readTaskHeaders({ ...encode(), headers: { task: 't', id: 'i', ...headers } });
          if (read !== null) expect(typeof read.retries).toBe('number');
        } catch (error) {
          expect(error).toBeInstanceOf(WireError);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe('userHeaders', () => {
  test('gives what is neither the protocol’s nor a mark of the broker', () => {
    const message = withHeaders({
      tenant: 'acme',
      'x-request': 1,
      'x-death': [],
      'x-first-death-queue': 'q',
      'x-delivery-count': 1,
      redelivered: true,
    });
    expect(userHeaders(message.headers)).toEqual({ tenant: 'acme', 'x-request': 1 });
  });
});

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

describe('retrySuccessor', () => {
  test('counts the try, sets the new eta, names the task as its own parent and leaves the body alone', () => {
    const message = encode({ headers: { tenant: 'acme' }, expires: new Date(NOW + 60_000) });
    const next = retrySuccessor(message, { nowMs: NOW + 10_000, etaMs: NOW + 30_000 });
    expect(next.headers).toEqual({ ...message.headers, retries: 1, eta: '2026-11-21T00:00:30+00:00', parent_id: 'id-1' });
    expect(next.properties).toEqual({ ...message.properties, expiration: '50000' });
    expect(next.body).toBe(message.body);
    const third = retrySuccessor({ ...next, headers: { ...next.headers, parent_id: 'p' } }, { nowMs: NOW + 70_000, etaMs: null });
    expect(third.headers).toMatchObject({ retries: 2, eta: null, parent_id: 'p' });
    expect(third.properties.expiration).toBe('0');
  });

  test('takes off the marks of the delivery', () => {
    const message = withHeaders({ redelivered: true, 'x-death': [{}], 'x-last-death-queue': 'q', 'x-mine': 1, retries: '3' });
    const { headers } = retrySuccessor(
      { ...message, properties: { ...message.properties, expiration: '5' } },
      { nowMs: NOW, etaMs: null },
    );
    expect(Object.keys(headers).filter((name) => name.startsWith('x-') || name === 'redelivered')).toEqual(['x-mine']);
    expect(headers.retries).toBe(4);
  });

  test('an expiration without an expires header does not travel on', () => {
    const message = { ...encode(), properties: { ...encode().properties, expiration: '5' } };
    expect(retrySuccessor(message, { nowMs: NOW, etaMs: null }).properties).not.toHaveProperty('expiration');
  });
});
