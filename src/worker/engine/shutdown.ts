/**
 * How a worker ends, as one line of states with one deadline: warm (takes nothing, running tasks may finish) → abort (their
 * signals) → hand back (what is unfinished starts elsewhere, no attempt burnt) → closed. A second call hurries the present
 * state. Whatever hangs (broker, store, hooks) is left behind at the deadline: the end comes at most two seconds after the grace.
 */
import type { Broker, Consumer } from '../../brokers/broker.js';
import { toError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { ResultStore } from '../../results/result-store.js';
import type { StopReport } from '../pools/pool.js';
import type { Executors } from './executors/executors.js';
import type { Patience } from './patience.js';
import type { Settler } from './settle.js';
import type { ActiveRun, EngineCounters } from './state.js';

/** After the grace: how long aborted tasks may take to end, the hand-back to be confirmed, and the rest to close. */
const ABORT_MS = 600;
const HAND_BACK_MS = 700;
/** When the grace was not used up there is more time for that. */
const LONGEST_HAND_BACK_MS = 2_000;
const CLOSE_MS = 400;

export interface ShutdownOptions {
  readonly graceMs: number;
  readonly consumer: Consumer | null;
  readonly broker: Broker | null;
  readonly store: ResultStore | null;
  readonly settler: Settler | null;
  readonly executors: Executors;
  readonly active: Map<number, ActiveRun>;
  readonly counters: EngineCounters;
  readonly patience: Patience;
  readonly logger: Logger;
  /** Hands back what has come in and not got as far as an executor. Called when nothing more comes. */
  readonly stopIntake: () => void;
  /** Nothing waits for store or broker any longer. */
  readonly giveUp: () => void;
  /** Every executor has run its onStop hooks, or is gone. */
  readonly executorsStopped: () => boolean;
  /** Sends the last events, and that the worker goes. */
  readonly farewell: () => Promise<void>;
}

export async function shutDown(options: ShutdownOptions): Promise<StopReport> {
  const { graceMs, consumer, broker, store, settler, executors, active, counters, patience, logger } = options;
  const deadlineMs = performance.now() + graceMs + ABORT_MS + HAND_BACK_MS;
  const isQuiet = (): boolean => active.size === 0 && (settler?.inFlight ?? 0) === 0;

  logger.info({ active: active.size, graceMs }, 'stopping: no new tasks are taken');
  if (consumer) await within(CLOSE_MS, 'pausing the consumer', () => consumer.pause(), logger);
  // What no executor has seen goes back first: a neighbour can start it at once.
  if (consumer) options.stopIntake();
  for (const run of executors.takeWaiting()) {
    active.delete(run.run);
    counters.handedBack += 1;
    settler?.withoutResult({ kind: 'requeue', arrival: run.delivery, where: 'front' });
  }
  if (!(await patience.until(isQuiet, graceMs))) {
    logger.warn({ active: active.size }, 'the grace is over: the signals of running tasks abort');
    executors.broadcast({ type: 'abort', runs: [...active.keys()], reason: 'shutdown' });
    await patience.until(isQuiet, ABORT_MS);
  }
  options.giveUp();
  const unfinished = [...active.values()].filter((run) => !run.settled).length;
  let report: StopReport = { handedBack: counters.handedBack, handBackFailed: false };
  if (consumer) {
    try {
      const leftMs = deadlineMs - performance.now();
      const timeoutMs = Math.ceil(Math.max(HAND_BACK_MS, Math.min(leftMs, LONGEST_HAND_BACK_MS)));
      const handedBack = await consumer.close({ timeoutMs });
      report = { handedBack: handedBack + counters.handedBack, handBackFailed: handedBack < unfinished };
    } catch (error) {
      report = { handedBack: counters.handedBack, handBackFailed: true };
      logger.error({ error: toError(error).message, unfinished }, 'unfinished tasks could not be handed back; their lease will');
    }
  }
  active.clear();
  executors.broadcast({ type: 'stop' });
  // Beside the hooks: a broker that hangs must not cost the time of both.
  const told = within(CLOSE_MS, 'sending the last events', () => options.farewell(), logger);
  // Hooks get what is left of the time: all of the grace if the tasks ended at once.
  await patience.until(options.executorsStopped, Math.max(CLOSE_MS, deadlineMs - performance.now()));
  await told;
  executors.closeAll();
  await within(CLOSE_MS, 'closing the connections', () => Promise.allSettled([store?.close(), broker?.close()]), logger);
  return report;
}

/** Waits for something that may hang or fail, no longer than that. */
async function within(timeoutMs: number, what: string, work: () => Promise<unknown>, logger: Logger): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
  });
  try {
    await Promise.race([work(), late]);
  } catch (error) {
    logger.warn({ error: toError(error).message }, `${what} failed; going on without`);
  } finally {
    clearTimeout(timer);
  }
}
