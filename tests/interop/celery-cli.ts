/** Celery's command line, in a process that stays (`celery_cli.py`): its start takes longer than what it is asked. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { PYTHONS } from '../support/celery.js';

export interface CliAnswer {
  readonly code: number;
  readonly output: string;
  /** An exception that it died of. */
  readonly failed: string | null;
}

export class CeleryCli {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #waiting: { resolve(line: string): void; reject(error: Error): void }[] = [];
  #errors = '';

  constructor(version: '5.2' | '5.6', brokerUrl: string) {
    const script = fileURLToPath(new URL('./celery_cli.py', import.meta.url));
    this.#child = spawn(PYTHONS[version], [script, brokerUrl], { stdio: 'pipe' });
    this.#child.stderr.on('data', (chunk: Buffer) => {
      this.#errors = (this.#errors + chunk.toString()).slice(-4_000);
    });
    this.#child.on('exit', () => {
      for (const { reject } of this.#waiting.splice(0)) reject(new Error(`the Celery command line ended: ${this.#errors}`));
    });
    createInterface(this.#child.stdout).on('line', (line) => this.#waiting.shift()?.resolve(line));
  }

  /** The version of Celery that answers. */
  async start(): Promise<string> {
    return (JSON.parse(await this.#line()) as { celery: string }).celery;
  }

  async run(...args: readonly string[]): Promise<CliAnswer> {
    const line = this.#line();
    this.#child.stdin.write(`${JSON.stringify(args)}\n`);
    return JSON.parse(await line) as CliAnswer;
  }

  /** What a node answered, by `--json`. */
  async answer(kind: 'inspect' | 'control', node: string, command: string, ...args: readonly string[]): Promise<unknown> {
    const { code, output, failed } = await this.run(kind, '--json', '--timeout', '3', '--destination', node, command, ...args);
    if (code !== 0) throw new Error(`celery ${kind} ${command}: ${code} ${failed ?? ''} ${output}`);
    const line = output.split('\n').find((text) => /^[[{]/.test(text)) ?? '';
    const parsed: unknown = JSON.parse(line);
    const byNode = Array.isArray(parsed) ? (Object.assign({}, ...(parsed as object[])) as object) : (parsed as object);
    return (byNode as Record<string, unknown>)[node];
  }

  async close(): Promise<void> {
    this.#child.stdin.end();
    await new Promise<void>((resolve) => {
      if (this.#child.exitCode !== null) return resolve();
      const timer = setTimeout(() => this.#child.kill('SIGKILL'), 10_000);
      this.#child.once('exit', () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #line(): Promise<string> {
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }
}
