import { describe, expect, test } from 'vitest';
import { guarded, ownerIn } from './redis-cluster.js';
import { defineScript } from './redis-library.js';

const asked = { host: 'seed', port: 7000 };
const slots = [
  [0, 5460, ['10.0.0.1', 7001, 'id1', []], ['10.0.0.4', 7004, 'id4', []]],
  [5461, 10922, ['', 7002, 'id2', []]],
  [10923, 16000, ['?', 7003, 'id3', []]],
];

describe('the owner of a slot', () => {
  test.each([
    [0, { host: '10.0.0.1', port: 7001 }],
    [5460, { host: '10.0.0.1', port: 7001 }],
    // a node without a name is to be called as the one that was asked
    [5461, { host: 'seed', port: 7002 }],
  ])('%i is read from CLUSTER SLOTS', (slot, owner) => {
    expect(ownerIn(slots, slot, asked, 'redis+cluster://seed:7000/')).toEqual(owner);
  });

  test.each([
    ['of which no name is known', slots, 12_000],
    ['that nobody has', slots, 16_383],
    ['in an answer of another form', 'OK', 0],
    ['in an answer of nonsense', [null, [1]], 0],
  ])('%s cannot be reached', (_, answer, slot) => {
    expect(() => ownerIn(answer, slot, asked, 'redis+cluster://seed:7000/')).toThrow(
      expect.objectContaining({ code: 'E_BROKER_UNREACHABLE', message: expect.stringContaining(`slot ${slot}`) }),
    );
  });
});

test('a guarded script names one more key, and does not see it', () => {
  const script = defineScript('return #KEYS');
  const first = guarded(script, '{a}:', [script.sha, '2', 'k1', 'k2', 'argument']);
  expect(first.args).toEqual([first.script.sha, '3', 'k1', 'k2', '{a}:lovage:probe', 'argument']);
  expect(first.script.lua).toBe('table.remove(KEYS)\nreturn #KEYS');
  expect(guarded(script, '{b}:', [script.sha, '0']).script).toBe(first.script);
});
