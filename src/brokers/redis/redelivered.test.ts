import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { markRedelivered } from './redelivered.js';

const mark = (text: string): string => markRedelivered(Buffer.from(text)).toString();

describe('markRedelivered', () => {
  test('writes both marks of kombu and leaves every other byte alone', () => {
    const raw =
      '{"body": "e30=", "headers": {"id": "a", "big": 12345678901234567890, "f": 1.0}, "properties": {"delivery_info": {"exchange": ""}, "priority": 0}}';
    expect(mark(raw)).toBe(
      '{"body": "e30=", "headers": {"id": "a", "big": 12345678901234567890, "f": 1.0, "redelivered": true}, ' +
        '"properties": {"delivery_info": {"exchange": "", "redelivered": true}, "priority": 0}}',
    );
  });

  test('marks once: a marked envelope comes back as it is', () => {
    const once = markRedelivered(Buffer.from('{"headers":{},"properties":{"delivery_info":{}}}'));
    expect(once.toString()).toBe('{"headers":{"redelivered": true},"properties":{"delivery_info":{"redelivered": true}}}');
    expect(markRedelivered(once)).toBe(once);
  });

  test('overrules a mark that says false', () => {
    const marked = JSON.parse(
      mark('{"headers":{"redelivered":false,"x":1},"properties":{"delivery_info":{"redelivered": false}}}'),
    ) as Record<string, unknown>;
    expect(marked).toEqual({ headers: { redelivered: true, x: 1 }, properties: { delivery_info: { redelivered: true } } });
  });

  test.each(['', 'no JSON', '[1]', '"text"', '{"headers": ', '{"headers": 5, "properties": null}', '{"a" 1}', '\xff\xfe'])(
    'leaves %j, which is no envelope, alone',
    (raw) => {
      const bytes = Buffer.from(raw, 'latin1');
      expect(markRedelivered(bytes).equals(bytes)).toBe(true);
    },
  );

  test('changes nothing but the marks in any JSON headers, and never throws on any bytes', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue()),
        fc.integer({ min: 0, max: 2 }),
        (headers, space) => {
          const envelope = {
            body: 'x"}{',
            headers,
            properties: { priority: 0, delivery_info: { exchange: 'e"}', routing_key: '\\' } },
          };
          const marked = JSON.parse(mark(JSON.stringify(envelope, null, space))) as typeof envelope;
          const expected = JSON.parse(JSON.stringify(envelope)) as typeof envelope;
          expect(marked).toEqual({
            ...expected,
            headers: { ...expected.headers, redelivered: true },
            properties: { priority: 0, delivery_info: { ...expected.properties.delivery_info, redelivered: true } },
          });
        },
      ),
    );
    fc.assert(fc.property(fc.uint8Array(), (bytes) => void markRedelivered(Buffer.from(bytes))));
  });

  test('skips values of any depth without using the stack', () => {
    const deep = `${'['.repeat(200_000)}${']'.repeat(200_000)}`;
    expect(mark(`{"x": ${deep}, "headers": {}, "properties": {"delivery_info": {}}}`)).toContain(
      '"headers": {"redelivered": true}',
    );
  });
});
