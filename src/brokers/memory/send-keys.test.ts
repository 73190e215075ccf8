/** Dedupe keys of the memory broker: what bounds them. */
import { expect, test } from 'vitest';
import { MemorySendKeys, MOST_KEYS } from './send-keys.js';

test('ended keys go by themselves, long before there are too many', () => {
  const keys = new MemorySendKeys();
  for (let at = 0; at < 50_000 && keys.hasRoom(at); at += 1) keys.take({ key: `k${at}`, ttlMs: 100 }, 'id', at);
  expect(keys.size).toBeLessThanOrEqual(1_000);
  expect(keys.holder('k49999', 49_999)).toBe('id');
  expect(keys.holder('k49999', 50_099)).toBeNull();
});

test('beyond the limit nothing more is taken in, until some have ended', () => {
  const keys = new MemorySendKeys();
  for (let at = 0; keys.hasRoom(0); at += 1) keys.take({ key: `k${at}`, ttlMs: 1_000 }, 'id', 0);
  expect(keys.size).toBe(MOST_KEYS);
  expect(keys.hasRoom(999)).toBe(false);
  expect(keys.hasRoom(1_000)).toBe(true);
  expect(keys.size).toBe(0);
});
