/**
 * Worker processes as people run them: `lovage worker` from the command line, and a supervisor that starts each again
 * when it ends. Every start has a label of its own (`w2.5`: the fifth start of the second worker), which tasks write into
 * the ledger; every kill and stop is written there too. Logs go to files in the drill's folder.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Receipt } from './judge.js';
import type { Ledger } from './ledger.js';
import { pause, until } from './wait.js';

const LOVAGE = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const TASKS = fileURLToPath(new URL('../apps/tasks.ts', import.meta.url));
/** A supervisor waits a moment before it starts a process again. */
const RESTART_MS = 200;
/** More starts than any drill asks for: something dies at once, again and again. */
const MAX_STARTS = 500;

export interface FleetOptions {
  readonly folder: string;
  readonly ledger: Ledger;
  readonly count: number;
  readonly queue: string;
  readonly lease: string;
  /** URLs for each worker by its number from 1: a worker may have a network of its own. */
  urls(worker: number): { readonly broker: string; readonly results: string };
  readonly app?: string;
  /** Where its tasks run. Default `threads`. */
  readonly pool?: 'threads' | 'processes' | 'async' | 'inline';
  /** Threads or child processes. Default 1. */
  readonly executors?: number;
  /** Tasks at once in each worker. Default 10. */
  readonly concurrency?: number;
  readonly grace?: string;
  readonly flags?: readonly string[];
  /** Node's own flags, before the command. */
  readonly nodeFlags?: readonly string[];
}

/** One line of a worker's log. */
export type LogLine = Readonly<Record<string, unknown>> & { readonly msg?: string };

/** One start of a worker. */
export interface WorkerProcess {
  readonly label: string;
  readonly pid: number;
  readonly child: ChildProcess;
  readonly logFile: string;
  /** Resolves when the process has gone. */
  readonly ended: Promise<number | NodeJS.Signals | null>;
  /** When SIGSTOP was sent; `null` while it runs. */
  stoppedMs: number | null;
  /** The drill ends it: no line in the ledger, no new start. */
  meant: boolean;
}

export class Fleet {
  /** Ends that nobody here caused: label and how. */
  readonly crashes: { readonly label: string; readonly how: number | NodeJS.Signals | null }[] = [];
  readonly #options: FleetOptions;
  readonly #current: WorkerProcess[] = [];
  readonly #logFiles: string[] = [];
  readonly #labels: string[] = [];
  readonly #killAll = (): void => this.#current.forEach(({ child }) => child.kill('SIGKILL'));
  #starts = 0;
  #closing = false;

  constructor(options: FleetOptions) {
    this.#options = options;
    process.once('exit', this.#killAll);
    for (let worker = 1; worker <= options.count; worker++) this.#start(worker, 1);
  }

  get workers(): readonly WorkerProcess[] {
    return this.#current;
  }

  /** Resolves when every worker has said that it is ready. Thirty that start together on a busy machine need more than a minute. */
  async ready(timeoutMs = 180_000): Promise<void> {
    await until(() => this.#current.every((worker) => this.#isReady(worker)), 'all workers are ready', timeoutMs);
  }

  /** SIGKILL; the supervisor starts it again. */
  async kill(index: number): Promise<void> {
    const worker = this.#current[index] as WorkerProcess;
    if (worker.child.exitCode !== null || worker.child.signalCode !== null) return;
    const fromMs = Date.now();
    worker.meant = true;
    worker.child.kill('SIGKILL');
    await worker.ended;
    this.#options.ledger.fault({ kind: 'kill', target: worker.label, fromMs, toMs: Date.now() });
    this.#startAgain(index);
  }

  /** TERM, as a deploy sends it, and a new start; its exit code and how long it took. What it interrupted is explained by it. */
  async deploy(index: number): Promise<{ readonly code: number | NodeJS.Signals | null; readonly tookMs: number }> {
    const worker = this.#current[index] as WorkerProcess;
    const fromMs = Date.now();
    worker.meant = true;
    worker.child.kill('SIGTERM');
    const code = await worker.ended;
    const toMs = Date.now();
    this.#options.ledger.fault({ kind: 'deploy', target: worker.label, fromMs, toMs });
    this.#startAgain(index);
    return { code, tookMs: toMs - fromMs };
  }

  /** The workers that are ready and run, by index. */
  alive(): number[] {
    return this.#current.flatMap((worker, index) => (worker.stoppedMs === null && this.#isReady(worker) ? [index] : []));
  }

  /** SIGSTOP: its sockets stay open and nothing answers. */
  stop(index: number): void {
    const worker = this.#current[index] as WorkerProcess;
    worker.stoppedMs ??= Date.now();
    worker.child.kill('SIGSTOP');
  }

  continue(index: number): void {
    const worker = this.#current[index] as WorkerProcess;
    if (worker.stoppedMs === null) return;
    const fromMs = worker.stoppedMs;
    worker.stoppedMs = null;
    // Written before it goes on: what it does then must find the line.
    this.#options.ledger.fault({ kind: 'stop', target: worker.label, fromMs, toMs: Date.now() });
    worker.child.kill('SIGCONT');
  }

  /** All log lines of all starts with this message, or all lines. */
  log(message?: string): LogLine[] {
    return this.#logFiles.flatMap((file) =>
      readFileSync(file, 'utf8')
        .split('\n')
        .filter((line) => line.startsWith('{') && line.endsWith('}') && (message === undefined || line.includes(message)))
        .map((line) => JSON.parse(line) as LogLine),
    );
  }

  /** Who was given which task again, and when, by task id. Only workers with `--log-level debug` tell. */
  receipts(): Map<string, Receipt[]> {
    const receipts = new Map<string, Receipt[]>();
    for (const [index, file] of this.#logFiles.entries()) {
      for (const line of readFileSync(file, 'utf8').split('\n')) {
        if (!line.includes('"delivered again"') || !line.endsWith('}')) continue;
        const { id, time } = JSON.parse(line) as { readonly id: string; readonly time: number };
        const receipt = { worker: this.#labels[index] as string, atMs: time };
        const known = receipts.get(id);
        if (known) known.push(receipt);
        else receipts.set(id, [receipt]);
      }
    }
    return receipts;
  }

  /** The last lines of each log, for people who look for the cause. */
  tails(lines = 8): string {
    const files = this.#logFiles.slice(-6);
    return files.map((file) => `-- ${file}\n${readFileSync(file, 'utf8').split('\n').slice(-lines).join('\n')}`).join('\n');
  }

  /** TERM to all; exit codes in order. Kills what is still there after `timeoutMs` (and gives `SIGKILL` for it). */
  async close(timeoutMs = 30_000): Promise<(number | NodeJS.Signals | null)[]> {
    this.#closing = true;
    for (let index = 0; index < this.#current.length; index++) this.continue(index);
    for (const worker of this.#current) worker.child.kill('SIGTERM');
    const late = setTimeout(this.#killAll, timeoutMs);
    const codes = await Promise.all(this.#current.map(({ ended }) => ended));
    clearTimeout(late);
    process.off('exit', this.#killAll);
    return codes;
  }

  #isReady({ logFile, child }: WorkerProcess): boolean {
    return child.exitCode === null && child.signalCode === null && readFileSync(logFile, 'utf8').includes('worker ready');
  }

  #start(number: number, nth: number): void {
    const {
      folder,
      ledger,
      queue,
      lease,
      urls,
      app = TASKS,
      pool = 'threads',
      executors = 1,
      concurrency = 10,
      grace = '10s',
      flags = [],
      nodeFlags = [],
    } = this.#options;
    const label = `w${number}.${nth}`;
    const logFile = join(folder, `${queue}-${label}.log`);
    const { broker, results } = urls(number);
    const log = openSync(logFile, 'a');
    const several = pool === 'threads' || pool === 'processes' ? [`--${pool}`, String(executors)] : [];
    const place = ['--pool', pool, ...several, '--concurrency', String(concurrency)];
    const child = spawn(
      process.execPath,
      [
        ...[...nodeFlags, LOVAGE, 'worker', '--app', app, '--broker', broker, '--results', results, '--queues', queue],
        ...[...place, '--lease', lease, '--grace', grace, '--name', `${label}@%h`, '--log-format', 'json', ...flags],
      ],
      {
        stdio: ['ignore', log, log],
        env: { ...process.env, LOVAGE_DRILL_LEDGER: ledger.file, LOVAGE_DRILL_WORKER: label },
      },
    );
    closeSync(log);
    const ended = new Promise<number | NodeJS.Signals | null>((resolve) => {
      child.once('exit', (code, signal) => resolve(code ?? signal));
      child.once('error', () => resolve(null));
    });
    const worker: WorkerProcess = { label, pid: child.pid ?? -1, child, logFile, ended, stoppedMs: null, meant: false };
    this.#logFiles.push(logFile);
    this.#labels.push(label);
    this.#current[number - 1] = worker;
    this.#starts += 1;
    void ended.then((how) => {
      if (worker.meant || this.#closing) return;
      this.crashes.push({ label, how });
      ledger.fault({ kind: 'kill', target: label, fromMs: Date.now(), toMs: Date.now() });
      this.#startAgain(number - 1);
    });
  }

  #startAgain(index: number): void {
    if (this.#closing || this.#starts >= MAX_STARTS) return;
    const [, number, nth] = /^w(\d+)\.(\d+)$/.exec((this.#current[index] as WorkerProcess).label) as unknown as [
      string,
      string,
      string,
    ];
    void pause(RESTART_MS).then(() => {
      if (!this.#closing) this.#start(Number(number), Number(nth) + 1);
    });
  }
}
