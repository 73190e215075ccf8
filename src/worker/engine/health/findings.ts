/** What a person should know about a worker, in words and with figures. Pure: what the worker has measured goes in. */
import { formatMs } from '../../../core/duration.js';
import type { Finding, TaskRunTimes } from '../../../core/worker-report.js';
import type { EngineCounters } from '../state.js';

/** What the findings are made of. */
export interface Measured {
  readonly slots: number;
  readonly tasks: readonly TaskRunTimes[];
  /** Names of registered tasks with `retry.max: 'unlimited'`. */
  readonly endless: readonly string[];
  readonly counters: EngineCounters;
  /** Blocks of executors of two seconds and more since the start, and how long the present one lasts. */
  readonly blocks: number;
  readonly longestBlockMs: number;
  /** Deliveries that were no longer ours when we looked. */
  readonly lostDeliveries: number;
  /** What the broker's driver warns of. */
  readonly brokerWarnings: readonly string[];
}

/** Runs longer ago say nothing about today's mix. */
const RECENT_MS = 1_800_000;
/** Fewer runs prove nothing. */
const FEW_FAST = 20;
const FEW_SLOW = 3;
/** A fast task and a slow one, and how far apart they are at least. */
const FAST_MS = 500;
const SLOW_MS = 500;
const APART = 20;
/** Share of the slots' time that the slow ones take, from which on the others notice. */
const NOTICED = 0.2;
/** Names in one sentence. */
const NAMES = 3;
const WARNINGS = 10;

export function findings(measured: Measured): Finding[] {
  const { counters, blocks, longestBlockMs, lostDeliveries } = measured;
  const found: Finding[] = mixes(measured);
  for (const task of measured.endless.slice(0, NAMES)) {
    const retries = sum(measured.tasks.filter((row) => row.task === task).map((row) => row.retries));
    found.push({
      code: 'endless-retry',
      text: `task ${task} is tried again without end (retry.max 'unlimited'): ${retries} retries here so far. Give it a maximum, so that what can never succeed ends`,
    });
  }
  if (measured.endless.length > NAMES)
    found.push({
      code: 'endless-retry',
      text: `${measured.endless.length - NAMES} more tasks are tried again without end (retry.max 'unlimited')`,
    });
  if (blocks > 0 || longestBlockMs > 0) {
    const now = longestBlockMs > 0 ? `; one does not answer now, for ${formatMs(longestBlockMs)}` : '';
    found.push({
      code: 'blocked-loop',
      text: `tasks kept their executor from answering for 2 s or more ${times(blocks)}${now}. The log names them ("keeps its executor from answering"): let them yield, or run them with --pool processes`,
    });
  }
  if (lostDeliveries > 0 || counters.fenced > 0)
    found.push({
      code: 'lost-deliveries',
      text: `${lostDeliveries} deliveries were no longer this worker's when it looked, and ${counters.fenced} late outcomes were refused: it was cut off from the broker, or stood still, for longer than its lease. Those tasks run again elsewhere; look at the network, or raise --lease`,
    });
  for (const text of measured.brokerWarnings.slice(0, WARNINGS)) found.push({ code: 'broker-warning', text });
  if (counters.abandoned > 0)
    found.push({
      code: 'abandoned-tasks',
      text: `${counters.abandoned} tasks were ended by their hard time limit or a revoke while their code went on. Pass ctx.signal to what they wait for, so that it ends too`,
    });
  return found;
}

/** Queues in which fast tasks wait for slots that slow ones hold. */
function mixes({ slots, tasks }: Measured): Finding[] {
  const found: Finding[] = [];
  for (const queue of new Set(tasks.map((row) => row.queue))) {
    const rows = tasks.filter((row) => row.queue === queue && row.idleMs <= RECENT_MS);
    const fast = rows.filter((row) => row.p50Ms <= FAST_MS && row.runs >= FEW_FAST).sort((a, b) => b.runs - a.runs);
    const [quickest] = fast;
    if (!quickest) continue;
    const apart = (row: TaskRunTimes): boolean => row.p50Ms >= SLOW_MS && row.p50Ms >= APART * quickest.p50Ms;
    const slow = rows.filter((row) => apart(row) && row.runs >= FEW_SLOW).sort((a, b) => b.totalMs - a.totalMs);
    const [slowest] = slow;
    if (!slowest) continue;
    const share = sum(slow.map((row) => row.totalMs)) / sum(rows.map((row) => row.totalMs));
    if (share < NOTICED) continue;
    const own = Math.max(1, Math.round(slots / 5));
    const nextSlotMs = slowest.p50Ms / slots;
    const remedy =
      slots > 1
        ? `--queues ${queue}:${slots - own},slow:${own}`
        : `--queues ${queue},slow --concurrency 2, or a worker of their own`;
    found.push({
      code: 'mixed-queue',
      text: [
        `queue ${JSON.stringify(queue)} mixes fast tasks with slow ones: ${described(fast)} beside ${described(slow)}.`,
        `The slow ones took ${Math.round(share * 100)} % of the slots' time;`,
        `when they hold all ${slots} slots a fast one waits about ${formatMs(Math.max(1, Math.round(nextSlotMs)))} for the next, and so does every one before it.`,
        `Give the slow ones a queue of their own: ${remedy}`,
      ].join(' '),
    });
  }
  return found;
}

/** `mails.send (p50 5ms, 400 runs), …` */
function described(rows: readonly TaskRunTimes[]): string {
  const shown = rows
    .slice(0, NAMES)
    .map((row) => `${row.task} (p50 ${formatMs(row.p50Ms)}, p99 ${formatMs(row.p99Ms)}, ${row.runs} runs)`);
  return shown.join(', ') + (rows.length > NAMES ? ` and ${rows.length - NAMES} more` : '');
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function times(count: number): string {
  return count === 1 ? 'once' : `${count} times`;
}
