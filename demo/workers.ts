/** The demo's worker processes: `lovage worker` as a user would start it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const LOVAGE = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const APP = fileURLToPath(new URL('./tasks.ts', import.meta.url));
const KEPT_LOG_LINES = 40;

export interface DemoWorker {
  readonly name: string;
  readonly pid: number;
  /** Resolves when the process has ended. */
  readonly ended: Promise<number | NodeJS.Signals | null>;
  /** The last lines of its log. */
  log(): string;
  kill(signal: NodeJS.Signals): void;
}

export function startWorker(name: string, broker: string, results: string | undefined): DemoWorker {
  const flags = [
    '--app',
    APP,
    '--queues',
    'lovage-demo',
    '--threads',
    '2',
    '--concurrency',
    '8',
    '--lease',
    '3s',
    '--grace',
    '10s',
  ];
  const urls = ['--broker', broker, ...(results === undefined ? [] : ['--results', results])];
  const child: ChildProcess = spawn(
    process.execPath,
    [LOVAGE, 'worker', ...flags, ...urls, '--name', `${name}@%h`, '--log-format', 'json'],
    {
      stdio: ['ignore', 'inherit', 'pipe'],
    },
  );
  const lines: string[] = [];
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    lines.push(...text.split('\n').filter((line) => line !== ''));
    lines.splice(0, Math.max(0, lines.length - KEPT_LOG_LINES));
  });
  const ended = once(child, 'exit').then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals | null);
  return { name, pid: child.pid ?? -1, ended, log: () => lines.join('\n'), kill: (signal) => void child.kill(signal) };
}
