/** Result-store suite: what finished steps of tasks gave (`results/steps.ts`). */
import { describe, expect } from 'vitest';
import type { ResultStore } from '../../results/result-store.js';
import { MOST_STEPS, type StepStore, type StepWrite } from '../../results/steps.js';
import { untilWall } from './broker-kit.js';
import { type ResultSuite, uniqueId } from './result-fixture.js';

const HOUR_MS = 3_600_000;

const stepsOf = ({ steps }: ResultStore): StepStore => {
  if (!steps) throw new Error('the store says that it keeps steps, and has no place for them');
  return steps;
};

const step = (taskId: string, name: string, more: Partial<StepWrite> = {}): StepWrite => ({
  ...{ taskId, name, resultJson: JSON.stringify(`of ${name}`), epoch: 0, ttlMs: HOUR_MS },
  ...more,
});

export function stepsSuite({ can }: ResultSuite): void {
  describe('steps', () => {
    can('steps', 'that are stored are read from everywhere, by their task and name', async ({ store, another }) => {
      const [steps, others] = [stepsOf(store), stepsOf(await another())];
      const [task, neighbour] = [uniqueId('task'), uniqueId('task')];
      expect(await steps.get(task, 'split')).toBeNull();
      expect(await steps.put(step(task, 'split', { resultJson: '{"é": [1, "x\\"]"]}' }))).toEqual({ kind: 'stored' });
      expect(await others.get(task, 'split')).toBe('{"é": [1, "x\\"]"]}');
      expect(await others.get(task, 'join')).toBeNull();
      expect(await others.get(neighbour, 'split')).toBeNull();
    });

    can('steps', 'stay as they were stored first, and tell whoever stores them again', async ({ store, another }) => {
      const [steps, others] = [stepsOf(store), stepsOf(await another())];
      const task = uniqueId('task');
      await steps.put(step(task, 'once', { resultJson: '1' }));
      expect(await others.put(step(task, 'once', { resultJson: '2' }))).toEqual({ kind: 'present', resultJson: '1' });
      expect(await steps.get(task, 'once')).toBe('1');
    });

    can('steps', 'of a run whose task another worker has claimed are refused', async ({ store }) => {
      const steps = stepsOf(store);
      const task = uniqueId('task');
      await steps.put(step(task, 'before'));
      expect(await store.claim(task, { ttlMs: HOUR_MS })).toEqual({ epoch: 1 });
      expect(await steps.put(step(task, 'late'))).toEqual({ kind: 'fenced' });
      expect(await steps.get(task, 'late')).toBeNull();
      expect(await steps.put(step(task, 'late', { epoch: 1, resultJson: '"own"' }))).toEqual({ kind: 'stored' });
      expect(await steps.get(task, 'before')).toBe('"of before"');
    });

    can('steps', 'have a limit a task, and what is stored already can still be stored again', async ({ store }) => {
      const steps = stepsOf(store);
      const task = uniqueId('task');
      const answers = await Promise.all(Array.from({ length: MOST_STEPS }, (_, nth) => steps.put(step(task, `step ${nth}`))));
      expect(answers.every(({ kind }) => kind === 'stored')).toBe(true);
      expect(await steps.put(step(task, 'one more'))).toEqual({ kind: 'full' });
      expect(await steps.put(step(task, 'step 7'))).toMatchObject({ kind: 'present' });
      expect(await steps.put(step(uniqueId('task'), 'one more'))).toEqual({ kind: 'stored' });
    });

    can('steps', 'of tasks that have ended are forgotten, and those of others are not', async ({ store }) => {
      const steps = stepsOf(store);
      const [ended, running] = [uniqueId('task'), uniqueId('task')];
      await steps.put(step(ended, 'a'));
      await steps.put(step(ended, 'b'));
      await steps.put(step(running, 'a'));
      await steps.forget([ended, uniqueId('none')]);
      expect([await steps.get(ended, 'a'), await steps.get(ended, 'b')]).toEqual([null, null]);
      expect(await steps.get(running, 'a')).toBe('"of a"');
      expect(await steps.put(step(ended, 'a', { resultJson: '2' }))).toEqual({ kind: 'stored' });
    });

    can('steps', 'of a task expire together, so long after the last one', async ({ store }) => {
      const steps = stepsOf(store);
      const task = uniqueId('task');
      await steps.put(step(task, 'first', { ttlMs: 200 }));
      await steps.put(step(task, 'last', { ttlMs: 800 }));
      const lastMs = Date.now();
      await untilWall(lastMs + 300);
      expect(await steps.get(task, 'first')).toBe('"of first"');
      await untilWall(lastMs + 900);
      expect([await steps.get(task, 'first'), await steps.get(task, 'last')]).toEqual([null, null]);
      expect(await steps.put(step(task, 'first', { resultJson: '"anew"' }))).toEqual({ kind: 'stored' });
      expect(await steps.get(task, 'last')).toBeNull();
    });
  });
}
