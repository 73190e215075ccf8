/** Reads the ledger that the tasks append to, and judges by it. Pure but for reading the file. */
import { readFileSync } from 'node:fs';

export interface Ledger {
  /** Task id → process ids that started it, in order. */
  readonly started: ReadonlyMap<string, readonly number[]>;
  /** Task id → process ids that finished it. */
  readonly done: ReadonlyMap<string, readonly number[]>;
}

/** A half-written last line (the writer was killed) counts for nothing. */
export function parseLedger(text: string): Ledger {
  const started = new Map<string, number[]>();
  const done = new Map<string, number[]>();
  for (const line of text.split('\n').slice(0, -1)) {
    const [what, id, pid] = line.split(' ');
    if (id === undefined || pid === undefined || (what !== 'started' && what !== 'done')) continue;
    const map = what === 'started' ? started : done;
    const pids = map.get(id);
    if (pids) pids.push(Number(pid));
    else map.set(id, [Number(pid)]);
  }
  return { started, done };
}

export function readLedger(file: string): Ledger {
  return parseLedger(readFileSync(file, 'utf8'));
}

/** How many tasks this process has started and not finished. */
export function unfinishedOf(ledger: Ledger, pid: number): number {
  let count = 0;
  for (const [id, pids] of ledger.started) if (pids.includes(pid) && !ledger.done.get(id)?.includes(pid)) count += 1;
  return count;
}

export interface Verdict {
  readonly sent: number;
  /** Sent tasks that ran to their end, each counted once. */
  readonly run: number;
  /** Started again after the killed process had started them. */
  readonly twiceByKill: number;
  /** Started more than once although the killed process never had them: there should be none. */
  readonly twiceUnexplained: number;
  readonly lost: number;
}

export function judge(sent: readonly string[], ledger: Ledger, killed: number | null): Verdict {
  let run = 0;
  let twiceByKill = 0;
  let twiceUnexplained = 0;
  for (const id of sent) {
    if (ledger.done.has(id)) run += 1;
    const pids = ledger.started.get(id) ?? [];
    if (pids.length < 2) continue;
    // Fewer starts outside the killed process than two: the kill explains the repetition.
    if (killed !== null && pids.includes(killed) && pids.filter((pid) => pid !== killed).length <= 1) twiceByKill += 1;
    else twiceUnexplained += 1;
  }
  return { sent: sent.length, run, twiceByKill, twiceUnexplained, lost: sent.length - run };
}
