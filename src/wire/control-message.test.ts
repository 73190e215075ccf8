import { describe, expect, test } from 'vitest';
import { WireError } from '../core/errors.js';
import {
  type ControlRequest,
  decodeControlReply,
  decodeControlRequest,
  encodeControlReply,
  encodeControlRequest,
  isAddressedTo,
  replyExchange,
  replyQueue,
} from './control-message.js';
import type { WireMessage } from './message.js';

const message = (body: string, headers = {}): WireMessage => ({
  contentType: 'application/json',
  contentEncoding: 'utf-8',
  headers,
  properties: {},
  body: { encoding: 'utf8', data: body },
});

describe('requests', () => {
  test('everything but the method has a default, and is read back', () => {
    const { exchange, routingKey, message: sent } = encodeControlRequest({ method: 'ping' });
    expect([exchange, routingKey, sent.properties]).toEqual(['celery.pidbox', '', { delivery_mode: 2, priority: 0 }]);
    const everybody = {
      method: 'ping',
      arguments: {},
      destination: null,
      pattern: null,
      matcher: null,
      ticket: null,
      replyTo: null,
      clock: 0,
      expires: 0,
    };
    expect(decodeControlRequest(sent)).toEqual(everybody);
    const replyTo = { exchange: replyExchange('shop'), routingKey: 'me' };
    const wanted = { ...everybody, arguments: { n: 1 }, destination: ['w1@h'], ticket: 't', replyTo, clock: 7, expires: 12.5 };
    const shop = encodeControlRequest(wanted, { controlExchange: 'shop' });
    expect(shop.exchange).toBe('shop.pidbox');
    expect(decodeControlRequest(shop.message)).toEqual(wanted);
    expect(replyQueue('me', 'shop')).toBe('me.reply.shop.pidbox');
  });

  test('odd parts of a request are read as absent', () => {
    const odd = '{"method":"ping","destination":"w1@h","pattern":1,"matcher":"x","ticket":1,"reply_to":{},"arguments":null}';
    expect(decodeControlRequest(message(odd, { clock: 'x', expires: null }))).toMatchObject({
      destination: ['w1@h'],
      pattern: null,
      matcher: null,
      ticket: null,
      replyTo: null,
      clock: 0,
      expires: 0,
      arguments: {},
    });
  });

  test.each(['[]', '{}', '{"method":5}', 'null', '{"method":"ping","arguments":[]}', 'garbage'])('%s is no request', (body) => {
    expect(() => decodeControlRequest(message(body))).toThrow(WireError);
  });
});

describe('who must act', () => {
  const base: ControlRequest = {
    method: 'ping',
    arguments: {},
    destination: null,
    pattern: null,
    matcher: null,
    ticket: null,
    replyTo: null,
    clock: 0,
    expires: 0,
  };
  const matches = (pattern: string, matcher: 'glob' | 'pcre', name: string): boolean =>
    isAddressedTo({ ...base, pattern, matcher }, name);

  test('everybody without a destination, else those who are named', () => {
    expect(isAddressedTo(base, 'w1@h')).toBe(true);
    expect(isAddressedTo({ ...base, destination: [] }, 'w1@h')).toBe(true);
    expect(isAddressedTo({ ...base, destination: ['w1@h'], pattern: 'w2*', matcher: 'glob' }, 'w1@h')).toBe(true);
    expect(isAddressedTo({ ...base, destination: ['w2@h'] }, 'w1@h')).toBe(false);
  });

  test.each([
    ['*', 'w1@h', true],
    ['w?@*', 'w1@h', true],
    ['w1@*', 'w2@h', false],
    ['w1', 'w1@h', false],
    ['*@h', 'w1@h', true],
    ['w*1*h', 'w111@oh', true],
    ['w[0-3]@h', 'w1@h', true],
    ['w[!0-3]@h', 'w1@h', false],
    ['w[!a]@h', 'w1@h', true],
    ['w[]1]@h', 'w1@h', true],
    ['w[1@h', 'w[1@h', true],
    ['w[1@h', 'w1@h', false],
    ['', 'w1@h', true],
  ])('glob %j on %s: %s', (pattern, name, expected) => {
    expect(matches(pattern, 'glob', name)).toBe(expected);
  });

  test.each([
    ['w\\d+', 'w1@h', true],
    ['1', 'w1@h', false],
    ['a|w1', 'w1@h', true],
    ['(', 'w1@h', false],
  ])('regular expression %j on %s, anchored at the start: %s', (pattern, name, expected) => {
    expect(matches(pattern, 'pcre', name)).toBe(expected);
  });

  test('a pattern made to keep the matcher busy ends, and an endless one matches nothing', () => {
    expect(matches(`${'*a'.repeat(100)}b`, 'glob', 'a'.repeat(255))).toBe(false);
    expect(matches('*'.repeat(257), 'glob', 'w1@h')).toBe(false);
  });
});

describe('replies', () => {
  test('name the node, its answer, the ticket and the clock', () => {
    const reply = encodeControlReply(
      'w1@h',
      { ok: 'pong' },
      { replyTo: { exchange: 'reply.celery.pidbox', routingKey: 'me' }, ticket: 't', clock: 3 },
    );
    expect([reply.exchange, reply.routingKey]).toEqual(['reply.celery.pidbox', 'me']);
    expect(decodeControlReply(reply.message)).toEqual({
      ...{ ticket: 't', clock: 3, next: null },
      answers: [['w1@h', { ok: 'pong' }]],
    });
    expect(
      encodeControlReply('w', undefined, { replyTo: { exchange: '', routingKey: '' }, ticket: 't', clock: 0 }).message.body.data,
    ).toBe('{"w":null}');
  });

  test.each(['[]', '1', 'x'])('%s is no reply', (body) => {
    expect(() => decodeControlReply(message(body))).toThrow(WireError);
  });
});
