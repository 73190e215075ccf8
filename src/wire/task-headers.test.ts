import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { WireError } from '../core/errors.js';
import type { WireMessage } from './message.js';
import { readTaskHeaders, userHeaders } from './task-headers.js';
import { encodeTaskMessage, type TaskCall } from './task-message.js';

const CALL: TaskCall = { task: 'math.add', id: 'id-1', args: [1, 2], kwargs: {} };
const NOW = Date.UTC(2026, 10, 21);
const encode = (call: Partial<TaskCall> = {}, options = {}): WireMessage =>
  encodeTaskMessage({ ...CALL, ...call }, { nowMs: NOW, ...options });
const withHeaders = (headers: Record<string, unknown>): WireMessage => ({
  ...encode(),
  headers: { ...encode().headers, ...headers },
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
