/** Who tells workers of near deadlines, when, and what it costs whoever opens chords. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { AddressedMessage } from '../wire/broadcast-message.js';
import { decodeControlRequest } from '../wire/control-message.js';
import { ChordDeadlines } from './chord-deadlines.js';

beforeEach(() => void vi.useFakeTimers({ now: 1_000_000 }));
afterEach(() => void vi.useRealTimers());

/** @param answer what the broker does */
function teller(answer: () => Promise<unknown> = async () => null) {
  const sent: AddressedMessage[] = [];
  const deadlines = new ChordDeadlines({
    broadcast: (message) => {
      sent.push(message);
      return answer();
    },
    nowMs: Date.now,
  });
  /** In so many seconds each. */
  const tell = (...seconds: number[]): Promise<void> =>
    deadlines.tell(seconds.map((after) => ({ deadlineMs: Date.now() + after * 1_000 })));
  return { sent, tell };
}

test('the first of the deadlines is told, to workers of ours alone', async () => {
  const { sent, tell } = teller();
  await tell(20, 10.0001, 30);
  expect(sent).toHaveLength(1);
  const [{ exchange, message }] = sent as [AddressedMessage];
  expect(exchange).toBe('celery.pidbox');
  expect(decodeControlRequest(message)).toMatchObject({
    ...{ method: 'chords_due', arguments: { at: 1_010_001 }, destination: ['lovage'], ticket: null },
  });
});

test('nothing is told of deadlines before which every worker looks, nor of none', async () => {
  const { sent, tell } = teller();
  await tell();
  await tell(36, 86_400);
  expect(sent).toEqual([]);
});

test('the first of 300,000 is told, more than one call takes as arguments', async () => {
  const sent: AddressedMessage[] = [];
  const broadcast = async (message: AddressedMessage): Promise<void> => void sent.push(message);
  const many = new ChordDeadlines({ broadcast, nowMs: Date.now });
  await many.tell(Array.from({ length: 300_000 }, (_, index) => ({ deadlineMs: Date.now() + 10_000 + index })));
  expect(sent.map(({ message }) => decodeControlRequest(message).arguments)).toEqual([{ at: 1_010_000 }]);
});

test('until the deadline that was told only one that is nearer is told', async () => {
  const { sent, tell } = teller();
  await tell(10);
  await vi.advanceTimersByTimeAsync(9_000);
  await tell(10);
  expect(sent).toHaveLength(1);
  await tell(0.5);
  expect(sent).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(1_000);
  await tell(10);
  expect(sent).toHaveLength(3);
});

test('a broker that refuses, or does not answer for a second, neither fails nor holds up the send, and the next chord is told', async () => {
  const refusing = teller(() => Promise.reject(new Error('away')));
  await refusing.tell(10);
  await refusing.tell(10);
  expect(refusing.sent).toHaveLength(2);
  const silent = teller(() => new Promise(() => {}));
  const told = silent.tell(10);
  await vi.advanceTimersByTimeAsync(1_000);
  await told;
  const again = silent.tell(10);
  await vi.advanceTimersByTimeAsync(1_000);
  await again;
  expect(silent.sent).toHaveLength(2);
});
