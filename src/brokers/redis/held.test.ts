import { describe, expect, test } from 'vitest';
import { unframe } from './held.js';

describe('unframe', () => {
  test('takes the envelope and the queue out of a frame, whatever the envelope contains', () => {
    const envelope = '{"a": ",\\"\\",\\"x\\"]", "b": ["","",""]}';
    const framed = unframe(Buffer.from(`[${envelope},"","m\\u00e9dia"]`));
    expect(framed?.raw.toString()).toBe(envelope);
    expect(framed?.queue).toBe('média');
  });

  test('gives bytes that are no text back as they were', () => {
    const raw = Buffer.from([0xff, 0x00, 0x5d]);
    expect(unframe(Buffer.concat([Buffer.from('['), raw, Buffer.from(',"","q"]')]))?.raw.equals(raw)).toBe(true);
  });

  test.each(['', '[]', 'x,"",', '[{},"exchange","key"]', '[{},"",5]', '[{},"","q'])('refuses %j', (text) => {
    expect(unframe(Buffer.from(text))).toBeNull();
  });
});
