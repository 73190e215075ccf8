import { describe, expect, test } from 'vitest';
import { ArgumentError } from '../core/errors.js';
import type { WireMessage } from './message.js';
import { decodeTaskBody, encodeTaskMessage, type TaskCall } from './task-message.js';

const CALL: TaskCall = { task: 'math.add', id: 'id-1', args: [1, 2], kwargs: {} };
const NOW = Date.UTC(2026, 10, 21);
const encode = (call: Partial<TaskCall> = {}, options = {}): WireMessage =>
  encodeTaskMessage({ ...CALL, ...call }, { nowMs: NOW, ...options });

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
    ['args that are no array', { args: 'ab' as unknown as [] }, 'E_ARGUMENTS', 'args is no array'],
    [
      'kwargs that are an array',
      { kwargs: [1] as unknown as Record<string, unknown> },
      'E_ARGUMENTS',
      'kwargs is no plain object',
    ],
    [
      'kwargs that are a Date',
      { kwargs: new Date() as unknown as Record<string, unknown> },
      'E_ARGUMENTS',
      'kwargs is no plain object',
    ],
    ['a priority that is no integer', { priority: Number.NaN }, 'E_ARGUMENTS', 'priority is NaN, not an integer'],
    ['a time limit without end', { timeLimitMs: Number.POSITIVE_INFINITY }, 'E_ARGUMENTS', 'a time limit is Infinity'],
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
