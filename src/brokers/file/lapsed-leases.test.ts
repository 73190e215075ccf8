import { expect, test } from 'vitest';
import { LapsedLeases } from './lapsed-leases.js';

const lease = { id: 1, untilMs: 100, leaseMs: 15_000 };

test('a lapsed lease may be taken over two seconds after it was first seen so, or half a short lease', () => {
  const leases = new LapsedLeases();
  const short = { id: 2, untilMs: 100, leaseMs: 300 };
  expect(leases.waitMs(lease, 5_000)).toBe(null);
  leases.note([lease, short], 5_000);
  expect(leases.waitMs(lease, 5_500)).toBe(1_500);
  expect(leases.waitMs(short, 5_100)).toBe(50);
  leases.note([lease, short], 6_999);
  expect(leases.waitMs(lease, 7_000)).toBe(0);
});

test('one that was renewed in between, and is over again, begins anew', () => {
  const leases = new LapsedLeases();
  leases.note([lease], 0);
  const renewed = { ...lease, untilMs: 200 };
  expect(leases.waitMs(renewed, 3_000)).toBe(null);
  leases.note([renewed], 3_000);
  expect(leases.waitMs(renewed, 4_000)).toBe(1_000);
});

test('one that is gone is forgotten, and so is what a transaction noted that failed', () => {
  const leases = new LapsedLeases();
  const other = { ...lease, id: 2 };
  leases.note([lease, other], 0);
  leases.note([other], 100);
  leases.note([lease, other], 200);
  expect(leases.waitMs(lease, 200)).toBe(2_000);
  leases.rolledBack();
  expect(leases.waitMs(lease, 5_000)).toBe(null);
  expect(leases.waitMs(other, 5_000)).toBe(0);
});
