/** Finished steps of tasks in PostgreSQL. Rules: `results/steps.ts`. */
import { textArray } from '../../clients/postgres-library.js';
import { BrokerError } from '../../core/errors.js';
import { MOST_STEPS, type StepAnswer, type StepStore } from '../steps.js';
import type { Ask } from './index.js';
import type { Statements } from './statements.js';
import { decode, encode, keyOf, ttlOf } from './texts.js';

const FORGET_PAGE = 500;

export function postgresSteps(ask: Ask, statements: Statements): StepStore {
  return {
    get: async (taskId, name) => {
      const [row] = await ask<{ readonly result: string }>(statements.getStep, [keyOf(taskId), keyOf(name)], 'read');
      return row === undefined ? null : decode(row.result);
    },
    put: async ({ taskId, name, resultJson, epoch, ttlMs }): Promise<StepAnswer> => {
      const [row] = await ask<{ readonly kind: 'stored' | 'fenced' | 'full' | 'present'; readonly present: string | null }>(
        statements.putStep,
        [keyOf(taskId), keyOf(name), encode(resultJson), epoch, ttlOf(ttlMs), MOST_STEPS],
        'write',
      );
      if (row === undefined) throw new BrokerError('E_INTERNAL', 'a step had no answer');
      return row.kind === 'present' ? { kind: 'present', resultJson: decode(row.present ?? '') } : { kind: row.kind };
    },
    forget: async (taskIds) => {
      for (let from = 0; from < taskIds.length; from += FORGET_PAGE)
        await ask(statements.forgetSteps, [textArray(taskIds.slice(from, from + FORGET_PAGE).map(keyOf))], 'read');
    },
  };
}
