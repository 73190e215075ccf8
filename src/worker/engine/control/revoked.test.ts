/** What a worker knows of revoked tasks, with a scripted set of records. How it acts on it: `tests/worker/revoke.test.ts`. */
import { describe, expect, test } from 'vitest';
import type { TimedSet } from '../../../core/timed-set.js';
import { readTaskHeaders, type TaskHeaders } from '../../../wire/task-message.js';
import { Revoked } from './revoked.js';

const CLOCK = { nowMs: () => 0, monotonicMs: () => CLOCK.at, after: () => () => {}, at: 0 };

/** Records that write down what they are asked. */
function scripted(recorded: readonly string[]) {
  const asked: string[] = [];
  const state = { version: recorded.length > 0 ? 1 : 0 };
  const records: TimedSet = {
    add: async () => [],
    version: async () => {
      asked.push('version');
      return state.version;
    },
    find: async (names) => {
      asked.push(`find ${names.join(',')}`);
      return new Set(names.filter((name) => recorded.includes(name)));
    },
    list: async () => [],
  };
  return { records, asked, state };
}

function headers(id: string, stamps: Record<string, unknown> = {}): TaskHeaders {
  const message = {
    ...{ contentType: '', contentEncoding: '', properties: {}, body: { encoding: 'utf8', data: '' } as const },
    headers: { task: 't', id, stamped_headers: Object.keys(stamps), stamps },
  };
  return readTaskHeaders(message) as TaskHeaders;
}

function revokedWith(records: TimedSet | null, isTold: boolean) {
  const changes: number[] = [];
  const revoked = new Revoked({ records, isTold, clock: CLOCK, onChange: () => changes.push(1), onHeard: () => {} });
  return { revoked, changes };
}

describe('what a worker knows of revoked tasks', () => {
  test('costs no question while nothing is recorded, and asks for the ids in its hands once something is', async () => {
    const { records, asked } = scripted(['b']);
    const { revoked, changes } = revokedWith(records, true);
    revoked.learn(0);
    expect(revoked.mustAsk).toBe(false);
    revoked.learn(7);
    expect(revoked.mustAsk).toBe(true);
    expect(await revoked.ask(['a', 'b'])).toEqual(new Set(['b']));
    revoked.learn(7);
    revoked.learn(8);
    revoked.learn(0);
    expect(revoked.mustAsk).toBe(false);
    expect(asked).toEqual(['find a,b']);
    expect(changes).toHaveLength(2);
  });

  test('where nobody tells the version, it is asked for with the first arrivals, and again after half a minute or a broken connection', async () => {
    const { records, asked, state } = scripted([]);
    const { revoked } = revokedWith(records, false);
    expect(revoked.mustAsk).toBe(true);
    expect(await revoked.ask(['a'])).toEqual(new Set());
    expect(revoked.mustAsk).toBe(false);
    CLOCK.at += 31_000;
    expect(revoked.mustAsk).toBe(true);
    await revoked.ask(['a']);
    expect(revoked.mustAsk).toBe(false);
    revoked.doubt();
    state.version = 3;
    expect(revoked.mustAsk).toBe(true);
    await revoked.ask(['a']);
    expect(revoked.mustAsk).toBe(true);
    expect(asked).toEqual(['version', 'version', 'version', 'find a']);
  });

  test('a store that is away holds up nothing that nobody revoked, but lets nothing start that may be revoked', async () => {
    const { records, state } = scripted([]);
    const away = async (): Promise<never> => {
      throw new Error('away');
    };
    const broken = { ...records, version: away };
    const { revoked } = revokedWith(broken, false);
    await expect(revoked.ask(['a'])).rejects.toThrow('away');
    broken.version = records.version as never;
    expect(await revoked.ask(['a'])).toEqual(new Set());
    broken.version = away;
    CLOCK.at += 31_000;
    expect(await revoked.ask(['a'])).toEqual(new Set());
    expect(revoked.mustAsk).toBe(false);
    broken.version = records.version as never;
    state.version = 2;
    revoked.doubt();
    await revoked.ask(['a']);
    broken.version = away;
    broken.find = away;
    revoked.doubt();
    await expect(revoked.ask(['a'])).rejects.toThrow('away');
  });

  test('without records it never asks', () => {
    expect(revokedWith(null, false).revoked.mustAsk).toBe(false);
  });

  test('ids that it heard of count for three hours, fifty thousand of them, the newest', () => {
    const { revoked } = revokedWith(null, false);
    for (let from = 0; from < 60_000; from += 10_000)
      revoked.hear(Array.from({ length: 10_000 }, (_, index) => `id-${from + index}`));
    expect(revoked.size).toBe(50_000);
    expect([revoked.has(headers('id-59999')), revoked.has(headers('id-9999'))]).toEqual([true, false]);
    CLOCK.at += 3 * 3_600_000;
    expect(revoked.has(headers('id-59999'))).toBe(false);
    expect(revoked.list(1_000)).toEqual([]);
    expect(revoked.size).toBe(0);
  });

  test('tells the newest ids that fit, and no more', () => {
    const { revoked } = revokedWith(null, false);
    revoked.hear(['first', 'second', 'third']);
    expect(revoked.list(64 * 1_024)).toEqual(['third', 'second', 'first']);
    expect(revoked.list(20)).toEqual(['third', 'second']);
    expect(JSON.stringify(revoked.list(20)).length).toBeLessThanOrEqual(20);
  });

  test('a task is revoked by any value of any stamp that was named', () => {
    const { revoked } = revokedWith(null, false);
    revoked.hearStamps('tenant', ['7', 'acme']);
    expect(revoked.has(headers('a', { tenant: ['acme', 'other'] }))).toBe(true);
    expect(revoked.has(headers('a', { tenant: 7 }))).toBe(true);
    expect(revoked.has(headers('a', { tenant: 'other' }))).toBe(false);
    expect(revoked.has(headers('a', { owner: 'acme' }))).toBe(false);
    expect(revoked.has(headers('a'))).toBe(false);
  });

  test('keeps a hundred headers with a thousand values each, whatever is sent', () => {
    const { revoked } = revokedWith(null, false);
    for (let index = 0; index < 150; index += 1) revoked.hearStamps(`header-${index}`, ['x']);
    revoked.hearStamps(
      'header-149',
      Array.from({ length: 1_500 }, (_, index) => `value-${index}`),
    );
    expect(revoked.has(headers('a', { 'header-0': 'x' }))).toBe(false);
    expect(revoked.has(headers('a', { 'header-149': 'x' }))).toBe(false);
    expect(revoked.has(headers('a', { 'header-149': 'value-1499' }))).toBe(true);
    expect(revoked.has(headers('a', { 'header-149': 'value-400' }))).toBe(false);
  });
});
