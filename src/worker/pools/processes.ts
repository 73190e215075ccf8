/**
 * Pool `processes`: the engine in this process, executors in children that load the app file themselves. What a child does to
 * itself (a crash, a leak, a native call that never returns) costs that child. Lost, ended or retired ones are replaced, at
 * once when the spare is ready.
 */
import { type ChildProcess, fork } from 'node:child_process';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { ConfigError } from '../../core/errors.js';
import type { ChildData } from '../executor/child-main.js';
import { type Member, startCrew } from './crew.js';
import type { PoolSetup, RunningPool } from './pool.js';
import { childEnd } from './port-ends.js';

/** A child that was asked to go and has nothing to do may take this long for its exit handlers. */
const EXIT_MS = 300;
/** After the exit: what it has still said is read for no longer than this. */
const LAST_MESSAGES_MS = 1_000;

export async function startProcessPool(setup: PoolSetup): Promise<RunningPool> {
  const { options, source, log } = setup;
  if (!('file' in source)) {
    throw new ConfigError(
      'E_CONFIG_CONFLICT',
      "pool 'processes' loads the app in each child: give `module: import.meta.url` of the file that defines the app, or use pool 'async' or 'inline'",
    );
  }
  const { file, exportName } = source;
  const spawn = (executor: number): Member =>
    startChild({ file, exportName, log, executor, maxRssBytes: options.childMemoryBytes });
  return startCrew(setup, options.spare, spawn);
}

function startChild(data: ChildData): Member {
  const child = fork(fileURLToPath(new URL('../executor/child-main.js', import.meta.url)), [JSON.stringify(data)], {
    serialization: 'advanced',
    // A group of its own: a terminal's signals do not reach it, and it can be ended with all that its tasks have started.
    detached: process.platform !== 'win32',
    // The last one ends when this process does: `executor/parent-watch.ts`.
    stdio: ['ignore', 'inherit', 'inherit', 'ipc', 'pipe'],
    // One port cannot be listened on twice.
    execArgv: process.execArgv.map((flag) => (/^--inspect(-brk|-wait)?(=|$)/.test(flag) ? '--inspect=0' : flag)),
  });
  const lifeline = child.stdio[4] as Socket | null | undefined;
  lifeline?.on('error', () => {});
  lifeline?.unref();
  let cause = '';
  return {
    end: childEnd(child, (words) => {
      cause = words;
    }),
    gone: new Promise((resolve) => {
      const gone = (how: string): void => resolve(`executor process ${data.executor} (pid ${child.pid}) ${how}`);
      child.once('error', (error) => {
        if (child.pid === undefined) gone(`could not be started: ${error.message}`);
      });
      child.once('exit', (code, signal) => {
        // Outcomes that it had handed in before it died are outcomes.
        const end = (): void => gone(`died (${exitText(code, signal)})${cause === '' ? '' : `: ${cause}`}`);
        if (!child.connected) return end();
        const timer = setTimeout(end, LAST_MESSAGES_MS);
        child.once('disconnect', () => {
          clearTimeout(timer);
          end();
        });
      });
    }),
    kill: () => killGroup(child),
    dismiss: () => {
      if (child.connected) child.disconnect();
      setTimeout(() => killGroup(child), EXIT_MS).unref();
    },
  };
}

function exitText(code: number | null, signal: NodeJS.Signals | null): string {
  if (signal === 'SIGKILL') return 'SIGKILL: by somebody, or by the system for want of memory';
  if (signal === 'SIGABRT') return 'SIGABRT: for want of memory in its JavaScript heap, as a rule';
  return signal ?? `code ${code}`;
}

/** Ends it, and what its tasks have started: a command that lives on would work beside the next start of its task. */
function killGroup(child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    child.kill('SIGKILL');
  }
}
