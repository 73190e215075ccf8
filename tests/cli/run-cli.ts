/** Runs the built `lovage` command in a folder of its own, as a user would. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url)).replace(/\/$/, '');
const LOVAGE = join(ROOT, 'dist/cli/main.js');
const READY_LIMIT_MS = 20_000;

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunningCli {
  readonly child: ChildProcess;
  readonly finished: Promise<Finished>;
  /** Resolves once its log says so. */
  until(words: string): Promise<void>;
  stderr(): string;
}

/** A folder with `lovage` in its node_modules, and the commands run in it. */
export class Project {
  readonly folder: string;
  readonly #children = new Set<ChildProcess>();

  constructor() {
    this.folder = realpathSync(mkdtempSync(join(tmpdir(), 'lovage-cli-test-')));
    mkdirSync(join(this.folder, 'node_modules'));
    symlinkSync(ROOT, join(this.folder, 'node_modules/lovage'), 'dir');
    this.write('package.json', '{ "type": "module" }');
  }

  write(path: string, content: string | Uint8Array): void {
    mkdirSync(dirname(join(this.folder, path)), { recursive: true });
    writeFileSync(join(this.folder, path), content);
  }

  start(args: readonly string[], env: Readonly<Record<string, string>> = {}): RunningCli {
    // Nothing of the surrounding environment: a LOVAGE_BROKER_URL of the developer's must not be used here.
    const child = spawn(process.execPath, [LOVAGE, ...args], {
      cwd: this.folder,
      env: { PATH: process.env.PATH ?? '', TMPDIR: tmpdir(), NO_COLOR: '1', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#children.add(child);
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const finished = once(child, 'close').then(([code]) => {
      this.#children.delete(child);
      return { code: code as number | null, stdout, stderr };
    });
    const until = (words: string): Promise<void> =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(
          () => reject(new Error(`no "${words}" within ${READY_LIMIT_MS} ms:\n${stderr}`)),
          READY_LIMIT_MS,
        );
        const look = (): void => {
          if (!stderr.includes(words)) return;
          clearTimeout(timer);
          resolve();
        };
        child.stderr.on('data', look);
        void finished.then(({ code }) => reject(new Error(`ended with ${code} before "${words}":\n${stderr}`)));
        look();
      });
    return { child, finished, until, stderr: () => stderr };
  }

  run(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Finished> {
    return this.start(args, env).finished;
  }

  remove(): void {
    for (const child of this.#children) child.kill('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  }
}
