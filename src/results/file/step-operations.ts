/** Steps in the embedded file. Rules: `results/steps.ts`. */
import type { SqliteConnection } from '../../clients/sqlite/driver.js';
import type { OperationContext } from '../../clients/sqlite/operations.js';
import { MOST_STEPS, type StepAnswer, type StepWrite } from '../steps.js';

const SWEEP_STEP = 100;

/** @param epochOf the one that was claimed for a task, 0 if none was */
export function stepOperations(connection: SqliteConnection, { nowMs }: OperationContext, epochOf: (taskId: string) => number) {
  const find = connection.prepare(
    'SELECT s.result FROM steps s JOIN step_tasks t ON t.task = s.task WHERE s.task = ? AND s.name = ? AND t.until > ?',
  );
  const taskOf = connection.prepare('SELECT count, until FROM step_tasks WHERE task = ?');
  const touch = connection.prepare(
    'INSERT INTO step_tasks VALUES(?, 1, ?) ON CONFLICT DO UPDATE SET count = count + 1, until = excluded.until',
  );
  const insert = connection.prepare('INSERT INTO steps VALUES(?, ?, ?)');
  const dropSteps = connection.prepare('DELETE FROM steps WHERE task = ?');
  const dropTask = connection.prepare('DELETE FROM step_tasks WHERE task = ?');
  const expired = connection.prepare('SELECT task FROM step_tasks WHERE until <= ? LIMIT ?');

  const forget = (taskId: string): void => {
    dropSteps.run([taskId]);
    dropTask.run([taskId]);
  };
  const stored = (taskId: string, name: string, wallMs: number): string | null => {
    const row = find.get([taskId, name, wallMs]);
    return row === undefined ? null : String(row['result']);
  };

  return {
    calls: {
      getStep: ({ taskId, name }: { readonly taskId: string; readonly name: string }): string | null =>
        stored(taskId, name, Date.now()),
      putStep: ({ taskId, name, resultJson, epoch, ttlMs }: StepWrite): StepAnswer => {
        if (epoch < epochOf(taskId)) return { kind: 'fenced' };
        const present = stored(taskId, name, nowMs());
        if (present !== null) return { kind: 'present', resultJson: present };
        let task = taskOf.get([taskId]);
        if (task !== undefined && Number(task['until']) <= nowMs()) {
          forget(taskId);
          task = undefined;
        }
        if (task !== undefined && Number(task['count']) >= MOST_STEPS) return { kind: 'full' };
        touch.run([taskId, Math.ceil(nowMs() + ttlMs)]);
        insert.run([taskId, name, resultJson]);
        return { kind: 'stored' };
      },
      forgetSteps: (taskIds: readonly string[]): null => {
        for (const taskId of taskIds) forget(taskId);
        return null;
      },
    },
    /** Removes steps whose time is over. */
    sweep(wallMs: number): void {
      for (const { task } of expired.all([wallMs, SWEEP_STEP])) forget(String(task));
    },
  };
}
