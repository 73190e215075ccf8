/**
 * A private `supervisord` that runs workers with the settings of `examples/supervisors/supervisord.conf`: only its paths, its user and
 * its command are changed. What it says it did (its own log) is what counts, not what the workers say.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findProgram } from '../../scripts/environment.mjs';
import { until } from './wait.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const SUPERVISORD = findProgram('supervisord') ?? '';
const CONTROL = findProgram('supervisorctl') ?? '';
const EXAMPLE = join(ROOT, 'examples/supervisors/supervisord.conf');

export interface Program {
  readonly name: string;
  readonly command: readonly string[];
  /** Other values of settings that the example has. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** One end of a program as the supervisor saw it: an exit status or a signal. */
export interface End {
  readonly how: string;
  readonly expected: boolean;
}

export class Supervisord {
  readonly #folder: string;
  readonly #config: string;
  readonly #child: ChildProcess;
  readonly #kill = (): void => void this.#child.kill('SIGKILL');

  private constructor(folder: string, config: string) {
    this.#folder = folder;
    this.#config = config;
    this.#child = spawn(SUPERVISORD, ['-n', '-c', config], { cwd: folder, stdio: 'ignore' });
    process.once('exit', this.#kill);
  }

  /** @throws Error when supervisord is not installed */
  static async start(folder: string, programs: readonly Program[]): Promise<Supervisord> {
    if (SUPERVISORD === '') throw new Error('supervisord is not installed (npm run setup:servers)');
    const config = join(folder, 'supervisord.conf');
    const example = readFileSync(EXAMPLE, 'utf8');
    const sections = programs.map(({ name, command, settings = {} }) =>
      Object.entries(settings)
        .reduce((text, [key, value]) => text.replace(new RegExp(`^${key}=.*$`, 'm'), `${key}=${value}`), example)
        .replace('[program:lovage-worker]', `[program:${name}]`)
        .replace(/^(user|environment)=.*\n/gm, '')
        .replace(/^directory=.*$/m, `directory=${folder}`)
        .replace(/^command=.*$/m, `command=${command.map((word) => `"${word.replaceAll('%', '%%')}"`).join(' ')}`)
        .replace(/^stdout_logfile=.*$/m, `stdout_logfile=${folder}/${name}.out`),
    );
    const own = [
      `[unix_http_server]\nfile=${folder}/supervisor.sock`,
      `[supervisord]\nlogfile=${folder}/supervisord.log\npidfile=${folder}/supervisord.pid\nloglevel=info`,
      '[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface',
      `[supervisorctl]\nserverurl=unix://${folder}/supervisor.sock`,
    ];
    writeFileSync(config, [...own, ...sections].join('\n\n'));
    const supervisor = new Supervisord(folder, config);
    await until(() => existsSync(join(folder, 'supervisor.sock')), 'supervisord listens');
    return supervisor;
  }

  /** Its own. */
  get ownPid(): number {
    return this.#child.pid ?? -1;
  }

  /** Process id of a program's last start; -1: it was never started. */
  pid(name: string): number {
    const line = this.#log().findLast((one) => one.includes(`spawned: '${name}'`)) ?? '';
    return Number(/with pid (\d+)/.exec(line)?.[1] ?? -1);
  }

  /** What a program wrote. */
  output(name: string): string {
    const file = join(this.#folder, `${name}.out`);
    return existsSync(file) ? readFileSync(file, 'utf8') : '';
  }

  starts(name: string): number {
    return this.#log().filter((line) => line.includes(`spawned: '${name}'`)).length;
  }

  ends(name: string): End[] {
    return this.#log().flatMap((line) => {
      const match = new RegExp(
        `(?:exited|stopped): ${name} \\((?:exit status (\\d+)|terminated by (SIG\\w+))(; not expected)?`,
      ).exec(line);
      return match ? [{ how: (match[1] ?? match[2]) as string, expected: match[3] === undefined }] : [];
    });
  }

  /** RUNNING, STOPPED, EXITED, BACKOFF, FATAL, … */
  state(name: string): string {
    const { stdout } = spawnSync(CONTROL, ['-c', this.#config, 'status', name], { encoding: 'utf8' });
    return stdout.trim().split(/\s+/)[1] ?? '';
  }

  /** Asks a program to stop, as an operator does, and waits until it has. */
  stop(name: string): void {
    execFileSync(CONTROL, ['-c', this.#config, 'stop', name], { stdio: 'ignore' });
  }

  /** TERM, which stops all programs first. */
  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    const late = setTimeout(this.#kill, 60_000);
    if (this.#child.exitCode === null && this.#child.kill('SIGTERM')) await ended;
    clearTimeout(late);
    process.off('exit', this.#kill);
  }

  #log(): string[] {
    const file = join(this.#folder, 'supervisord.log');
    return existsSync(file) ? readFileSync(file, 'utf8').split('\n') : [];
  }
}
