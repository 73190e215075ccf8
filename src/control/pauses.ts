/**
 * Changing pauses: first in the broker, where workers that start later find them, then a broadcast at which running ones
 * look there again. In that order, or a worker could look before there is anything to see.
 */
import type { ControlAnswers, PausedName, PauseReport } from '../app/control/control-types.js';
import type { Broker } from '../brokers/broker.js';
import type { Pause } from '../brokers/pauses.js';

export interface PauseChange {
  readonly kind: Pause['kind'];
  readonly to: 'pause' | 'resume';
  readonly names: readonly string[];
}

/** The command at which workers of ours read the pauses again, and answer what they have now paused. */
export const PAUSES_CHANGED = 'pauses_changed';

/** @param tellWorkers also when nothing changed: a worker may have missed the last time */
export async function changePauses(
  { pauses }: Broker,
  { kind, to, names }: PauseChange,
  tellWorkers: () => Promise<ControlAnswers<never>>,
): Promise<PauseReport> {
  const sinceMs = Date.now();
  const flags = await (to === 'pause'
    ? pauses.add(names.map((name) => ({ kind, name, sinceMs })))
    : pauses.remove(names.map((name) => ({ kind, name }))));
  return { changed: names.filter((_, index) => flags[index] === true), workers: await tellWorkers() };
}

export async function listPauses({ pauses }: Broker): Promise<readonly PausedName[]> {
  return (await pauses.list()).map(({ kind, name, sinceMs }) => ({ kind, name, since: new Date(sinceMs) }));
}
