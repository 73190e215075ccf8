import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { WireError } from '../../core/errors.js';
import type { EncodedBody, WireMessage } from '../../wire/message.js';
import { decodeRow, encodeBody, encodeHead, rawBytes } from './row-message.js';

const body = fc.oneof<fc.Arbitrary<EncodedBody>[]>(
  fc.string({ unit: 'binary' }).map((data) => ({ encoding: 'utf8', data })),
  fc.base64String().map((data) => ({ encoding: 'base64', data })),
  fc.uint8Array().map((data) => ({ encoding: 'binary', data })),
);
const message: fc.Arbitrary<WireMessage> = fc.record({
  contentType: fc.string(),
  contentEncoding: fc.string(),
  headers: fc.dictionary(fc.string(), fc.jsonValue({ noUnicodeString: false }) as fc.Arbitrary<unknown>),
  properties: fc.record({ correlation_id: fc.string(), priority: fc.nat(9) }, { requiredKeys: [] }),
  body,
});

describe('a message as a row', () => {
  test('comes back as it was, whatever is in it', () => {
    fc.assert(
      fc.property(message, (sent) => {
        const received = decodeRow(encodeHead(sent, undefined), encodeBody(sent.body));
        expect(received).toEqual(
          JSON.parse(JSON.stringify({ ...sent, body: null }), (key, value: unknown) =>
            key === 'body' && value === null ? sent.body : value,
          ),
        );
      }),
    );
  });

  test('carries the priority that it was sent with', () => {
    const sent: WireMessage = {
      contentType: 'a',
      contentEncoding: 'b',
      headers: {},
      properties: { priority: 1 },
      body: { encoding: 'utf8', data: '' },
    };
    expect(decodeRow(encodeHead(sent, 7), '')).toMatchObject({ properties: { priority: 7 } });
  });
});

describe('a row that is no message', () => {
  test.each([
    ['no head', null, 'x'],
    ['no JSON', '[0,', 'x'],
    ['another form', '{"kind":0}', 'x'],
    ['too few parts', '[0,"a","b",{}]', 'x'],
    ['headers that are a list', '[0,"a","b",[],{}]', 'x'],
    ['an unknown kind of body', '[9,"a","b",{},{}]', 'x'],
    ['text where bytes belong', '[2,"a","b",{},{}]', 'x'],
    ['bytes where text belongs', '[0,"a","b",{},{}]', new Uint8Array(1)],
    ['a quoted body that is no JSON', '[3,"a","b",{},{}]', 'x'],
    ['headers that are too deep', `[0,"a","b",{"a":${'['.repeat(300)}${']'.repeat(300)}},{}]`, 'x'],
  ])('is a fault and no exception: %s', (_, head, bad) => {
    const fault = decodeRow(head, bad);
    expect(fault).toBeInstanceOf(WireError);
    expect(fault).toMatchObject({ code: 'E_DECODE' });
  });

  test('is not one with many brackets that are not deep', () => {
    expect(decodeRow(`[0,"${'{['.repeat(300)}","b",{"a":[${'[],'.repeat(300)}[]]},{}]`, '')).not.toBeInstanceOf(WireError);
  });

  test('cannot reach the prototype of anything', () => {
    const read = decodeRow('[0,"a","b",{"__proto__":{"polluted":true}},{}]', '');
    expect(read).not.toBeInstanceOf(WireError);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  test('shows its bytes', () => {
    expect(Buffer.from(rawBytes(null, new Uint8Array([1, 2])))).toEqual(Buffer.from([1, 2]));
    expect(Buffer.from(rawBytes('head', 'body')).toString()).toBe('headbody');
  });
});
