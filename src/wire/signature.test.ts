import { describe, expect, test } from 'vitest';
import { WireError } from '../core/errors.js';
import { makeSignature, mergeSignature, parseSignature, parseSignatures } from './signature.js';

const SIGNATURE = makeSignature('math.add', { args: [1], kwargs: { k: 1 }, options: { queue: 'q' } });

describe('signatures', () => {
  test('have all their parts, in Celery’s order', () => {
    expect(JSON.stringify(makeSignature('t'))).toBe(
      '{"task":"t","args":[],"kwargs":{},"options":{},"subtask_type":null,"immutable":false}',
    );
  });

  test('are read with defaults for absent parts; unknown keys are dropped', () => {
    expect(parseSignature({ task: 't' })).toEqual(makeSignature('t'));
    expect(
      parseSignature({ task: 't', args: null, kwargs: null, options: null, subtask_type: 'odd', immutable: 1, more: 1 }),
    ).toEqual(makeSignature('t'));
    expect(parseSignature({ task: 'celery.chord', subtask_type: 'chord', chord_size: 2 })).toMatchObject({
      subtask_type: 'chord',
      chord_size: 2,
    });
  });

  test.each([
    [null, 'embed.chain[0] is no object'],
    [[], 'embed.chain[0] is no object'],
    [{}, 'embed.chain[0] has no task name'],
    [{ task: '' }, 'embed.chain[0] has no task name'],
    [{ task: 't', args: {} }, 'embed.chain[0]: args is no array'],
    [{ task: 't', kwargs: [] }, 'embed.chain[0]: kwargs is no object'],
    [{ task: 't', options: 'x' }, 'embed.chain[0]: options is no object'],
  ])('refuses %j', (value, message) => {
    expect(() => parseSignatures([value], 'embed.chain')).toThrow(WireError);
    expect(() => parseSignatures([value], 'embed.chain')).toThrow(message);
  });

  test('links may be absent, one, or an array', () => {
    expect(parseSignatures(null)).toEqual([]);
    expect(parseSignatures({ task: 't' })).toEqual([makeSignature('t')]);
    expect(parseSignatures([{ task: 't' }, { task: 'u' }]).map(({ task }) => task)).toEqual(['t', 'u']);
  });

  test('are run with new args in front and the options of the call winning', () => {
    const call = { args: ['result'], kwargs: { k: 2, l: 3 }, options: { queue: 'r', priority: 1 } };
    expect(mergeSignature(SIGNATURE, call)).toEqual({
      ...SIGNATURE,
      args: ['result', 1],
      kwargs: { k: 2, l: 3 },
      options: { queue: 'r', priority: 1 },
    });
    expect(mergeSignature({ ...SIGNATURE, immutable: true }, call)).toEqual({
      ...SIGNATURE,
      immutable: true,
      options: { queue: 'r', priority: 1 },
    });
    expect(mergeSignature(SIGNATURE, {})).toEqual(SIGNATURE);
  });
});
