import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { WireError } from '../core/errors.js';
import type { WireMessage } from './message.js';
import { decodeEnvelope, encodeEnvelope, queueKey, queueKeys, redisPriority } from './redis-envelope.js';
import { bytesOf } from './serializers/registry.js';
import { encodeTaskMessage } from './task-message.js';

const ROUTE = { exchange: '', routingKey: 'celery', deliveryTag: 'tag-1' };

function message(headers: Record<string, unknown>, body: WireMessage['body'] = { encoding: 'utf8', data: '[]' }): WireMessage {
  return {
    contentType: 'application/json',
    contentEncoding: 'utf-8',
    headers,
    properties: { delivery_mode: 2, priority: 0 },
    body,
  };
}

describe('encodeEnvelope', () => {
  test('quick and general ways of writing headers give the same text', () => {
    const call = { task: 'a.b', id: 'id-1', args: [1, 'é"\\\u2028'], kwargs: {}, origin: 'gen1@h' };
    const variants = [
      {},
      { eta: new Date(0), expires: new Date(1), shadow: 'sh"ow', parentId: 'p', groupId: 'g', groupIndex: 300, retries: 2 },
      { timeLimitMs: 1500, softTimeLimitMs: null, ignoreResult: true, replacedTaskNesting: 1 },
      { stamps: { a: 1 }, stampedHeaders: ['a'] },
      { headers: { tenant: 'acme', deep: { list: [1, null] } } },
    ];
    for (const variant of variants) {
      const made = encodeTaskMessage({ ...call, ...variant }, { nowMs: 0 });
      const text = encodeEnvelope(made, ROUTE);
      expect(text).toContain(`"headers":${JSON.stringify(made.headers)},`);
      expect(decodeEnvelope(text).message.headers).toEqual(made.headers);
    }
  });

  test('text that needs escapes is escaped wherever it stands', () => {
    const odd = 'a"b\\c\n\u0000é\ud800𝄞';
    const given = {
      ...message({ task: odd }),
      contentType: odd,
      contentEncoding: odd,
      properties: { correlation_id: odd, reply_to: odd, delivery_mode: 1, priority: 3, expiration: odd },
    } as const;
    const decoded = decodeEnvelope(encodeEnvelope(given, { exchange: odd, routingKey: odd, deliveryTag: odd }));
    expect(decoded).toMatchObject({ exchange: odd, routingKey: odd, deliveryTag: odd, redelivered: false });
    expect(decoded.message).toEqual({ ...given, body: { encoding: 'base64', data: 'W10=' } });
  });

  test('a text that the last message had is remembered, and one that it had not is not taken for it', () => {
    for (const task of ['a', 'a', 'b"', 'b"', 'a']) {
      const message = encodeTaskMessage({ task, id: `id of ${task}`, args: [], kwargs: {}, origin: task }, { nowMs: 0 });
      const route = { exchange: task, routingKey: `to ${task}`, deliveryTag: 't' };
      const decoded = decodeEnvelope(encodeEnvelope(message, route));
      expect(decoded.message.headers).toMatchObject({ task, origin: task, id: `id of ${task}`, root_id: `id of ${task}` });
      expect(decoded).toMatchObject({ exchange: task, routingKey: `to ${task}` });
    }
  });

  test('a body in base64 cannot break out of its quotes', () => {
    const hostile = { encoding: 'base64', data: 'W10=","headers":{"task":"evil"},"x":"' } as const;
    expect(Object.keys(JSON.parse(encodeEnvelope(message({}, hostile), ROUTE)))).toHaveLength(5);
    expect(decodeEnvelope(encodeEnvelope(message({}, hostile), ROUTE)).message.headers).toEqual({});
  });

  test('headers with big integers or NaN, as another node may have sent them, are kept', () => {
    const raw = encodeEnvelope(message({ task: 'a', id: 'b' }), ROUTE).replace(
      '"id":"b"',
      '"id":"b","n":[9007199254740993],"m":9007199254740993,"f":NaN',
    );
    const { message: read } = decodeEnvelope(raw);
    expect(read.headers).toMatchObject({ n: [9007199254740993n], m: 9007199254740993n, f: Number.NaN });
    expect(encodeEnvelope(read, ROUTE)).toContain('"n":[9007199254740993],"m":9007199254740993,"f":NaN');
  });

  test('a typed header travels on as it came', () => {
    const raw = encodeEnvelope(message({ when: 1 }), ROUTE).replace(
      '"when":1',
      '"when":{"__type__":"datetime","__value__":"2024-02-29T13:05:06.000789"}',
    );
    const { message: read } = decodeEnvelope(raw);
    expect(encodeEnvelope(read, ROUTE)).toBe(raw);
  });

  test('headers that cannot be written are refused', () => {
    expect(() => encodeEnvelope(message({ f: [() => 1, 1n] }), ROUTE)).toThrow(expect.objectContaining({ code: 'E_DECODE' }));
  });

  test('a message that was put back says so in both places', () => {
    const text = encodeEnvelope(message({ redelivered: true }), ROUTE);
    expect(JSON.parse(text)).toMatchObject({
      headers: { redelivered: true },
      properties: { delivery_info: { redelivered: true } },
    });
    expect(decodeEnvelope(text).redelivered).toBe(true);
  });
});

describe('decodeEnvelope', () => {
  const good = JSON.parse(encodeEnvelope(message({ task: 'a' }), ROUTE)) as Record<string, unknown> & {
    properties: Record<string, unknown>;
  };
  const withProperties = (properties: object): object => ({ ...good, properties: { ...good.properties, ...properties } });

  test.each([
    ['nothing', ''],
    ['garbage', 'hello'],
    ['bytes that are no UTF-8', Uint8Array.of(0xff, 0xfe)],
    ['null', 'null'],
    ['an array', '[]'],
    ['a number', '5'],
    ['no body', JSON.stringify({ ...good, body: undefined })],
    ['a body that is no text', JSON.stringify({ ...good, body: {} })],
    ['no properties', JSON.stringify({ ...good, properties: undefined })],
    ['headers that are no object', JSON.stringify({ ...good, headers: [] })],
    ['an unknown body encoding', JSON.stringify(withProperties({ body_encoding: 'rot13' }))],
    [
      'deeply nested headers',
      JSON.stringify({ ...good, headers: { a: 0 } }).replace('"a":0', `"a":${'['.repeat(500)}${']'.repeat(500)}`),
    ],
    ['a prototype in the headers', JSON.stringify({ ...good, headers: { a: { b: {} } } }).replace('"b"', '"__proto__"')],
  ])('refuses %s', (_what, raw) => {
    expect(() => decodeEnvelope(raw)).toThrow(WireError);
    expect(() => decodeEnvelope(raw)).toThrow(expect.objectContaining({ code: 'E_DECODE' }));
  });

  test('reads bodies in plain text and envelopes without what only Python needs', () => {
    for (const encoding of ['utf-8', null, undefined]) {
      const raw = JSON.stringify({ ...withProperties({ body_encoding: encoding }), body: '[[],{},null]' });
      expect(decodeEnvelope(raw).message.body).toEqual({ encoding: 'utf8', data: '[[],{},null]' });
    }
    expect(decodeEnvelope('{"body":"","properties":{},"headers":null}')).toMatchObject({
      deliveryTag: '',
      exchange: '',
      message: { contentType: '', headers: {} },
    });
  });

  test('properties of the wrong type are left out', () => {
    const raw = JSON.stringify(
      withProperties({ correlation_id: 5, reply_to: {}, delivery_mode: 3, priority: 'high', expiration: 60_000 }),
    );
    expect(decodeEnvelope(raw).message.properties).toEqual({ expiration: '60000' });
  });

  test('a header named __proto__ changes no prototype', () => {
    const raw = JSON.stringify({ ...good, headers: { a: 1 } }).replace('"a":1', '"__proto__":{"task":"evil"},"id":"x"');
    const { headers } = decodeEnvelope(raw).message;
    expect(headers.task).toBeUndefined();
    expect(Object.getPrototypeOf(headers)).toBe(Object.prototype);
  });

  test('whatever was encoded is decoded, and garbage made from it gives a WireError or a message', () => {
    const text = fc.string({ unit: 'binary', maxLength: 20 });
    const bodies = fc.oneof(
      text.map((data) => ({ encoding: 'utf8' as const, data: Buffer.from(data).toString() })),
      fc.uint8Array({ maxLength: 30 }).map((data) => ({ encoding: 'binary' as const, data })),
    );
    const headers = fc
      .dictionary(text, fc.jsonValue(), { maxKeys: 25 })
      .filter((object) => !JSON.stringify(object).includes('__proto__'));
    fc.assert(
      fc.property(headers, bodies, text, fc.nat(), fc.integer({ min: 0, max: 255 }), (given, body, name, where, byte) => {
        fc.pre(!/(?<![.\d])\d{16}/.test(JSON.stringify(given)));
        const sent = message(given, body);
        const raw = encodeEnvelope(sent, { exchange: name, routingKey: name, deliveryTag: name });
        const read = decodeEnvelope(raw);
        expect(read.message.headers).toEqual(JSON.parse(JSON.stringify(given)));
        expect(Buffer.compare(bytesOf(read.message.body), bytesOf(body))).toBe(0);
        expect(read).toMatchObject({ exchange: name, routingKey: name, deliveryTag: name });

        const broken = Buffer.from(raw);
        broken[where % broken.length] = byte;
        try {
          decodeEnvelope(broken);
        } catch (error) {
          expect(error).toBeInstanceOf(WireError);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('priorities on Redis', () => {
  test('a queue has a list for each step, named with the separator except the first', () => {
    expect(queueKeys('q')).toEqual(['q', 'q\u0006\u00163', 'q\u0006\u00166', 'q\u0006\u00169']);
    expect(queueKeys('q', [0, 1], ':')).toEqual(['q', 'q:1']);
  });

  test.each([
    [0, 'q'],
    [2, 'q'],
    [3, 'q\u0006\u00163'],
    [5, 'q\u0006\u00163'],
    [8, 'q\u0006\u00166'],
    [9, 'q\u0006\u00169'],
    [255, 'q\u0006\u00169'],
    [-1, 'q\u0006\u00169'],
  ])('wire priority %d goes to its list', (priority, key) => {
    expect(queueKey('q', priority)).toBe(key);
  });

  test('our priority 9 is served first', () => {
    expect([0, 5, 9].map(redisPriority)).toEqual([9, 4, 0]);
    expect(queueKeys('q')[0]).toBe(queueKey('q', redisPriority(9)));
  });
});
