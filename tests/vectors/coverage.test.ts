/** No recording may be silently unused: files, pieces inside files, and kinds of pieces are counted here. */
import { describe, expect, test } from 'vitest';
import { PARSED_KEYS, RECORDED_KEYS, UNITS, type Unit, VECTORS } from './vector-files.js';

/** Which test file runs the pieces of a kind, and how many there are. */
const HANDLERS: Readonly<Record<Unit['kind'], { readonly file: string; readonly pieces: number }>> = {
  envelope: { file: 'envelopes.test.ts', pieces: 321 },
  unacked: { file: 'envelopes.test.ts', pieces: 13 },
  'unacked-index': { file: 'envelopes.test.ts', pieces: 5 },
  binding: { file: 'envelopes.test.ts', pieces: 33 },
  command: { file: 'envelopes.test.ts', pieces: 124 },
  amqp: { file: 'amqp.test.ts', pieces: 123 },
  topology: { file: 'topology.test.ts', pieces: 5 },
  'reply-queue': { file: 'topology.test.ts', pieces: 2 },
  meta: { file: 'results.test.ts', pieces: 192 },
  json: { file: 'results.test.ts', pieces: 29 },
  odd: { file: 'odd-messages.test.ts', pieces: 37 },
};

/** Recordings in which Python wrote nothing at all: that is what they show. */
const NOTHING_WRITTEN = [
  'b-redis-queue-direct', // to a queue whose exchange is a topic, without declaring it: routed nowhere
  'd-526-redis-result-reject',
  'd-526-redis-worker-ignore-result-header-success',
  'd-redis-result-ignored',
  'd-redis-result-reject',
  'd-redis-worker-ignore-result-header-success',
];

describe('every recording is used', () => {
  test('there are 326 files, each under its own name', () => {
    expect(VECTORS).toHaveLength(326);
    expect(new Set(VECTORS.map((vector) => vector.name)).size).toBe(326);
  });

  test('every file has a piece that some test runs, except those in which nothing was written', () => {
    const used = new Set(UNITS.map((unit) => unit.vector.name));
    expect(VECTORS.map((vector) => vector.name).filter((name) => !used.has(name))).toEqual(NOTHING_WRITTEN);
    for (const name of NOTHING_WRITTEN) {
      const wire = VECTORS.find((vector) => vector.name === name)?.wire ?? { none: 'of that name' };
      for (const part of Object.values(wire)) expect(Object.keys(part as object)).toEqual([]);
    }
  });

  test('every kind of piece has a handler, and as many pieces as were counted', () => {
    const counted = Object.fromEntries(
      Object.keys(HANDLERS).map((kind) => [kind, UNITS.filter((unit) => unit.kind === kind).length]),
    );
    expect(counted).toEqual(Object.fromEntries(Object.entries(HANDLERS).map(([kind, { pieces }]) => [kind, pieces])));
  });

  test('everything that was recorded under a known key became a piece', () => {
    const missed: string[] = [];
    const seen = new Set<unknown>(UNITS.flatMap((unit) => [...textsOf(unit)]));
    for (const vector of VECTORS) {
      for (const [path, text] of recorded(vector.wire, '')) if (!seen.has(text)) missed.push(`${vector.name}${path}`);
    }
    expect(missed).toEqual([]);
  });
});

function* recorded(node: unknown, path: string): Generator<[string, unknown]> {
  if (typeof node !== 'object' || node === null) return;
  for (const [key, value] of Object.entries(node)) {
    if (PARSED_KEYS.has(key)) continue;
    if (typeof value === 'string') {
      if (RECORDED_KEYS.has(key)) yield [`${path}.${key}`, value];
    } else if (key === 'fields' || key === 'members') {
      for (const item of Object.values(value as object)) yield [`${path}.${key}`, Array.isArray(item) ? item[0] : item];
    } else yield* recorded(value, `${path}.${key}`);
  }
}

function* textsOf(unit: Unit): Generator<unknown> {
  for (const value of Object.values(unit)) if (typeof value === 'string') yield value;
  if ((unit.kind === 'amqp' || unit.kind === 'odd') && unit.record !== null) yield unit.record.body_base64;
  if (unit.kind === 'unacked-index') for (const [tag] of unit.members) yield tag;
}
