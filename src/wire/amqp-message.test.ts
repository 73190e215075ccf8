import { describe, expect, test } from 'vitest';
import { fromAmqpProperties, toAmqpProperties } from './amqp-message.js';
import type { WireMessage } from './message.js';
import { encodeTaskMessage } from './task-message.js';

const headersOf = (headers: Record<string, unknown>): unknown => {
  const message: WireMessage = {
    contentType: '',
    contentEncoding: '',
    headers,
    properties: {},
    body: { encoding: 'utf8', data: '' },
  };
  return toAmqpProperties(message).properties.headers;
};

describe('toAmqpProperties', () => {
  test('sets what Celery sets and nothing else', () => {
    const message = encodeTaskMessage(
      { task: 't', id: 'i', args: [], kwargs: {}, priority: 3, expires: new Date(60_000) },
      { nowMs: 0 },
    );
    const { properties, body } = toAmqpProperties(message);
    expect(properties).toMatchObject({
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      correlationId: 'i',
      replyTo: '',
      deliveryMode: 2,
      priority: 3,
      expiration: '60000',
    });
    expect(Object.keys(properties)).toHaveLength(8);
    expect(body.toString()).toBe(message.body.data);
  });

  test('numbers in headers get the types that Python reads', () => {
    expect(
      headersOf({ a: 0, b: 300, c: -1, d: 2 ** 31, e: 1.5, f: -(2 ** 40), g: Number.NaN, h: 2n ** 62n, i: 2n ** 70n }),
    ).toEqual({
      a: { '!': 'int', value: 0 },
      b: { '!': 'int', value: 300 },
      c: { '!': 'int', value: -1 },
      d: { '!': 'long', value: 2 ** 31 },
      e: { '!': 'double', value: 1.5 },
      f: { '!': 'double', value: -(2 ** 40) },
      g: { '!': 'double', value: Number.NaN },
      h: { '!': 'long', value: 2n ** 62n },
      i: String(2n ** 70n),
    });
    expect(headersOf({ list: [300, { deep: 300 }], no: undefined, nil: null })).toEqual({
      list: [{ '!': 'int', value: 300 }, { deep: { '!': 'int', value: 300 } }],
      nil: null,
    });
  });

  test('a time that came in goes out as it came; a made-up type becomes text instead of making the client throw', () => {
    const time = { '!': 'timestamp', value: 1_795_229_342 };
    const decimal = { '!': 'decimal', value: { places: 2, digits: 110 } };
    expect(headersOf({ time, decimal })).toEqual({ time, decimal });
    expect(
      headersOf({ a: { '!': 'int8', value: 'x' }, b: { '!': 'timestamp', value: -1 }, c: { '!': 'decimal', value: null } }),
    ).toEqual({
      a: '{"!":"int8","value":"x"}',
      b: '{"!":"timestamp","value":-1}',
      c: '{"!":"decimal","value":null}',
    });
  });

  test('headers nested without end are cut', () => {
    const loop: Record<string, unknown> = {};
    loop.self = loop;
    expect(JSON.stringify(headersOf({ loop }))).toContain('"..."');
  });
});

describe('fromAmqpProperties', () => {
  test('leaves out what is missing or of another type, and never throws', () => {
    expect(fromAmqpProperties({}, Buffer.from('x'))).toEqual({
      contentType: '',
      contentEncoding: '',
      headers: {},
      properties: {},
      body: { encoding: 'binary', data: Buffer.from('x') },
    });
    const odd = {
      headers: 5,
      contentType: 1,
      contentEncoding: null,
      correlationId: {},
      replyTo: [],
      deliveryMode: 3,
      priority: 'x',
      expiration: 7,
    };
    expect(fromAmqpProperties(odd, Buffer.alloc(0)).properties).toEqual({});
  });
});
