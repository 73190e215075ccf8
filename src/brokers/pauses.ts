/**
 * Pauses: the part of the broker seam that remembers which queues and tasks people have paused. It is kept beside the
 * messages, so that it outlives workers and, where messages do, the broker. What a pause does is the worker's
 * (`worker/engine/control/pauses.ts`); who tells running workers of a change is `control/pauses.ts`.
 *
 * Pauses are made by people and stay until people end them, so they do not expire. Their number is bounded here.
 */
import { BrokerError } from '../core/errors.js';

/** What is paused. */
export interface Pause {
  /** A queue is not consumed; a task's messages wait in the delay store while others of their queue run. */
  readonly kind: 'queue' | 'task';
  readonly name: string;
  /** Wall time of the pause, by the clock of whoever made it. */
  readonly sinceMs: number;
}

/** The name of a pause. */
export type Paused = Pick<Pause, 'kind' | 'name'>;

/** The pauses of a broker: of all its queues and tasks together. */
export interface Pauses {
  /** All of them, queues first, by name. At most `MOST_PAUSES`, in one question. */
  list(): Promise<readonly Pause[]>;
  /**
   * Remembers pauses, and tells which of them are new; what was paused already keeps its time.
   * @throws BrokerError `E_BROKER_FULL` beyond `MOST_PAUSES`; then none of them is remembered
   */
  add(pauses: readonly Pause[]): Promise<readonly boolean[]>;
  /** Forgets them, and tells which of them were paused. */
  remove(names: readonly Paused[]): Promise<readonly boolean[]>;
}

/** So many pauses are remembered: workers read all of them when they start. */
export const MOST_PAUSES = 1_000;

/** Queues first, then by name. */
export function sortPauses(pauses: Iterable<Pause>): Pause[] {
  return [...pauses].sort((a, b) => (a.kind === b.kind ? (a.name < b.name ? -1 : 1) : a.kind === 'queue' ? -1 : 1));
}

/** The name of a pause among all, for stores with one key a pause. */
export const pauseKey = ({ kind, name }: Paused): string => `${kind}:${name}`;

/** Reads a pause back from its key and the time; `null` for what is none. */
export function pauseOf(key: string, since: unknown): Pause | null {
  const at = key.indexOf(':');
  const kind = key.slice(0, at);
  const sinceMs = Number(since);
  if ((kind !== 'queue' && kind !== 'task') || !Number.isFinite(sinceMs)) return null;
  return { kind, name: key.slice(at + 1), sinceMs };
}

/** Puts pauses into a table, all or none. @throws BrokerError `E_BROKER_FULL` */
export function addPauses<V>(table: Map<string, V>, pauses: readonly Pause[], toValue: (pause: Pause) => V): boolean[] {
  const keys = new Set(pauses.map(pauseKey).filter((key) => !table.has(key)));
  if (table.size + keys.size > MOST_PAUSES) throw tooManyPauses();
  return pauses.map((pause) => {
    const key = pauseKey(pause);
    if (table.has(key)) return false;
    table.set(key, toValue(pause));
    return true;
  });
}

/** What `add` throws when there is no room. */
export function tooManyPauses(): BrokerError {
  return new BrokerError(
    'E_BROKER_FULL',
    `more than ${MOST_PAUSES} queues and tasks would be paused, the most that are remembered: resume some first (lovage queues paused lists them)`,
  );
}
