/** Celery's task states (wire section 6.3) and what may be said of them. Any other name is a state of the task's own. */

/** The states that Celery itself writes or reads. */
export type TaskState = 'PENDING' | 'RECEIVED' | 'STARTED' | 'SUCCESS' | 'FAILURE' | 'REVOKED' | 'REJECTED' | 'RETRY' | 'IGNORED';

/** Every state of Celery's own. */
export const TASK_STATES: readonly TaskState[] = [
  'PENDING',
  'RECEIVED',
  'STARTED',
  'SUCCESS',
  'FAILURE',
  'REVOKED',
  'REJECTED',
  'RETRY',
  'IGNORED',
];

/** Whether the state is final (Celery: ready). */
export function isFinalState(state: string): boolean {
  return state === 'SUCCESS' || state === 'FAILURE' || state === 'REVOKED';
}

/** Whether waiting for the result throws (Celery: propagating). */
export function isThrowingState(state: string): boolean {
  return state === 'FAILURE' || state === 'REVOKED';
}

/** Whether `result` holds an exception in this state; for RETRY it may be null too. */
export function holdsException(state: string): boolean {
  return state === 'FAILURE' || state === 'REVOKED' || state === 'RETRY';
}
