import fc from 'fast-check';
import { expect, test } from 'vitest';
import { hashOf } from './result-table.js';

test('a hash is a whole number that SQLite and JavaScript both hold exactly', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (id) => Number.isSafeInteger(hashOf(id)) && hashOf(id) >= 0));
});

test('ids that differ in one character do not share a hash, over all places and a hundred thousand numbers', () => {
  const hashes = new Set<number>();
  const base = '3f2504e0-4f89-41d3-9a0c-0305e82c3301';
  let ids = 0;
  for (let place = 0; place < base.length; place += 1) {
    for (const other of '0123456789abcdef') {
      if (base[place] === other) continue;
      hashes.add(hashOf(base.slice(0, place) + other + base.slice(place + 1)));
      ids += 1;
    }
  }
  for (let number = 0; number < 100_000; number += 1, ids += 1) hashes.add(hashOf(`task-${number}`));
  expect(hashes.size).toBe(ids);
});
