/** The guard against headers that the AMQP client cannot read, on frames made by hand. */
import { describe, expect, test } from 'vitest';
import { guardFrames, harmless, UNREADABLE_HEADERS } from '../../src/clients/amqp-frame-guard.js';
import { deepHeaderFrame } from './deep-headers.js';

describe('headers that would break the connection', () => {
  test('are replaced by their bytes, and what follows the frame stays', () => {
    const frame = deepHeaderFrame(7_000, 5);
    const after = Buffer.from('the next frame');
    const guarded = harmless(Buffer.concat([frame, after]));
    expect(guarded.length).toBeLessThan(40_000);
    expect(guarded.includes(UNREADABLE_HEADERS)).toBe(true);
    expect(guarded.subarray(-after.length)).toEqual(after);
    // the same channel and body size, and a whole frame
    expect(guarded.subarray(0, 3)).toEqual(frame.subarray(0, 3));
    expect(guarded.subarray(11, 19)).toEqual(frame.subarray(11, 19));
    expect(guarded[7 + guarded.readUInt32BE(3)]).toBe(0xce);
  });

  test('are left alone if they are only large, or not yet whole', () => {
    const shallow = deepHeaderFrame(60, 5, 10_000);
    expect(harmless(shallow)).toBe(shallow);
    const cut = deepHeaderFrame(7_000, 5).subarray(0, 30_000);
    expect(harmless(cut)).toBe(cut);
  });

  test('are left to a client of another form', () => {
    const other = { recvFrame: 'no function' };
    expect(() => guardFrames(other)).not.toThrow();
    expect(other.recvFrame).toBe('no function');
  });
});
