/** A worker of the built command line, in a process of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { until } from './harness.js';

const root = fileURLToPath(new URL('../../', import.meta.url));

export class CliWorker {
  readonly child: ChildProcess;
  /** Exit code or signal once it has ended. */
  ended: number | string | null = null;
  #log = '';

  private constructor(args: readonly string[]) {
    this.child = spawn(process.execPath, ['dist/cli/main.js', 'worker', '--log-format', 'json', ...args], {
      cwd: root,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.child.stderr?.on('data', (chunk: Buffer) => {
      this.#log += chunk.toString();
    });
    this.child.once('close', (code, signal) => {
      this.ended = code ?? signal;
    });
  }

  /** Resolves once it is ready. */
  static async start(args: readonly string[]): Promise<CliWorker> {
    const worker = new CliWorker(args);
    await worker.until(() => worker.#log.includes('worker ready'));
    return worker;
  }

  log(): string {
    return this.#log;
  }

  /** Its log, one object a line. */
  lines(): Record<string, unknown>[] {
    return this.#log
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  lastLine(): Record<string, unknown> | undefined {
    return this.lines().at(-1);
  }

  /** Waits for something while it lives; a worker that has ended says why in the error. */
  async until(condition: () => boolean, timeoutMs = 20_000): Promise<void> {
    try {
      await until(() => safely(condition) || this.ended !== null, 'the worker has done so', timeoutMs);
    } catch (error) {
      throw new Error(`${String(error)}\n${this.#log.slice(-3_000)}`);
    }
    if (this.ended !== null && !safely(condition))
      throw new Error(`the worker ended with ${this.ended}:\n${this.#log.slice(-3_000)}`);
  }

  /** Its exit code or signal. */
  async exit(timeoutMs: number): Promise<number | string | null> {
    await until(() => this.ended !== null, 'the worker has ended', timeoutMs);
    return this.ended;
  }

  async stop(): Promise<number | string | null> {
    if (this.ended === null) this.child.kill('SIGTERM');
    return await this.exit(20_000);
  }
}

/** What it looks at may not exist yet. */
function safely(condition: () => boolean): boolean {
  try {
    return condition();
  } catch {
    return false;
  }
}
