/** What it takes to deal with executors that die or must be ended, and the watchdog that finds the latter; put together for `engine.ts`. */

import { endOverrun, type OverrunOptions } from './overrun.js';
import type { EngineHost } from './roster.js';
import { Watchdog } from './watchdog.js';

export interface WatchOptions extends Omit<OverrunOptions, 'host'> {
  /** `null`: the executor shares the engine's loop, and nobody could end it. */
  readonly host: EngineHost | null;
  /** An executor was dealt with. */
  readonly onEnded: () => void;
}

export function watchExecutors({ host, onEnded, ...parts }: WatchOptions): {
  readonly overrun: OverrunOptions;
  readonly watchdog: Watchdog | null;
} {
  const overrun: OverrunOptions = { ...parts, host: host?.host ?? { end: async () => 'stuck' as const } };
  if (host === null) return { overrun, watchdog: null };
  const { executors, active, logger } = parts;
  const watchdog = new Watchdog({
    ...{ executors, active, logger },
    onOverrun: (executor, culprit) => void endOverrun(executor, culprit, overrun).finally(onEnded),
  });
  return { overrun, watchdog };
}
