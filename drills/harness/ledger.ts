/**
 * The ledger: a file outside Lovage that senders, tasks and the drill itself only append to, one short line an event, in
 * one write each (O_APPEND), so that a line is whole or absent whoever is killed. Drills judge by it, never by what
 * Lovage says of itself. `judge.ts` does that; this file writes and reads. Grows with the tasks of one drill and is
 * removed with its folder.
 */
import { closeSync, openSync, readSync, writeSync } from 'node:fs';

/** One execution of a task by one worker process. */
export interface Run {
  readonly id: string;
  /** 1 for the first try; a retry is another try, not a duplicate. */
  readonly attempt: number;
  /** Label of the worker process; each start of a worker has a new one. */
  readonly worker: string;
  readonly startMs: number;
  /** `null`: never ended, as far as the ledger knows. */
  endMs: number | null;
}

/** Something that was done to the system, and to whom: a worker's label, `broker`, `sender` (its network), `network:<label>` (of one start, or `network:w2` for all of a worker's), or `task:<id>` for what was sent again after an unclear answer. */
export interface Fault {
  readonly kind: string;
  readonly target: string;
  readonly fromMs: number;
  readonly toMs: number;
}

export interface LedgerView {
  /** Confirmed by the broker; id → when. */
  readonly sent: ReadonlyMap<string, number>;
  /** When the send began that was confirmed first. */
  readonly begun: ReadonlyMap<string, number>;
  /** In the order in which they started. */
  readonly runs: ReadonlyMap<string, readonly Run[]>;
  readonly faults: readonly Fault[];
  /** Tasks of which a try ended without an error. */
  readonly executed: ReadonlySet<string>;
  /** Lines read so far: grows as long as anything happens. */
  readonly lines: number;
}

export class Ledger {
  readonly file: string;
  readonly #fd: number;
  readonly #sent = new Map<string, number>();
  readonly #begun = new Map<string, number>();
  readonly #runs = new Map<string, Run[]>();
  readonly #faults: Fault[] = [];
  readonly #executed = new Set<string>();
  #offset = 0;
  #rest = '';
  #lines = 0;

  constructor(file: string) {
    this.file = file;
    this.#fd = openSync(file, 'a+');
  }

  sent(ids: readonly string[], begunMs = Date.now()): void {
    if (ids.length > 0) this.#write(ids.map((id) => `sent ${id} ${Date.now()} ${begunMs}\n`).join(''));
  }

  fault({ kind, target, fromMs, toMs }: Fault): void {
    this.#write(`fault ${kind} ${target} ${fromMs} ${toMs}\n`);
  }

  /** Everything that stands in the file by now. */
  read(): LedgerView {
    const buffer = Buffer.alloc(1_048_576);
    for (let length = -1; length !== 0; ) {
      length = readSync(this.#fd, buffer, 0, buffer.length, this.#offset);
      this.#offset += length;
      this.#take(buffer.toString('latin1', 0, length));
    }
    const [sent, begun, runs, faults, executed] = [this.#sent, this.#begun, this.#runs, this.#faults, this.#executed];
    return { sent, begun, runs, faults, executed, lines: this.#lines };
  }

  close(): void {
    closeSync(this.#fd);
  }

  #write(text: string): void {
    writeSync(this.#fd, text);
  }

  #take(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.#line(line);
    this.#lines += lines.length;
  }

  #line(line: string): void {
    const [what, first = '', second = '', third = '', fourth = ''] = line.split(' ');
    switch (what) {
      case 'sent':
        if (this.#sent.has(first)) return;
        this.#sent.set(first, Number(second));
        this.#begun.set(first, Number(third || second));
        return;
      case 'fault':
        this.#faults.push({ kind: first, target: second, fromMs: Number(third), toMs: Number(fourth) });
        return;
      case 'start': {
        const run: Run = { id: first, attempt: Number(second), worker: third, startMs: Number(fourth), endMs: null };
        const runs = this.#runs.get(first);
        if (runs) runs.push(run);
        else this.#runs.set(first, [run]);
        return;
      }
      case 'end':
      case 'fail': {
        const open = this.#runs
          .get(first)
          ?.find((run) => run.worker === third && run.attempt === Number(second) && run.endMs === null);
        if (!open) throw new Error(`the ledger has an end without a start: ${line}`);
        open.endMs = Number(fourth);
        if (what === 'end') this.#executed.add(first);
        return;
      }
      default:
        throw new Error(`the ledger has a line that nobody writes: ${line.slice(0, 200)}`);
    }
  }
}
