/** A Python program that prints lines until its standard input ends, such as a monitor of events. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { PYTHONS } from './celery.js';

const END_MS = 15_000;

export class PythonProgram {
  /** What it has printed so far; as much as the program prints. */
  readonly lines: string[] = [];
  readonly #child: ChildProcessWithoutNullStreams;
  #errors = '';

  constructor(version: '5.2' | '5.6', args: readonly string[]) {
    const env = { ...process.env, PYTHONUNBUFFERED: '1', PYTHONDONTWRITEBYTECODE: '1' };
    this.#child = spawn(PYTHONS[version], args, { env, stdio: 'pipe' });
    createInterface(this.#child.stdout).on('line', (line) => this.lines.push(line));
    this.#child.stderr.on('data', (chunk: Buffer) => {
      this.#errors = (this.#errors + chunk.toString()).slice(-4_000);
    });
  }

  get hasEnded(): boolean {
    return this.#child.exitCode !== null;
  }

  /** The end of what it wrote about its troubles. */
  get errors(): string {
    return this.#errors;
  }

  /** Ends it and waits for its last words. */
  async end(signal?: NodeJS.Signals): Promise<void> {
    const closed = new Promise((resolve) => this.#child.once('close', resolve));
    if (this.hasEnded) return;
    this.#child.stdin.end();
    if (signal) this.#child.kill(signal);
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), END_MS);
    await closed;
    clearTimeout(timer);
  }
}
