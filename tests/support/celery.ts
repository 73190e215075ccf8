/**
 * Real Python Celery for the interop tests: 5.2 from Debian, 5.6 from the project's own venv (`npm run setup:servers`
 * installs both). A client is one long-lived process that answers JSON lines; a worker is `celery worker` itself.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { decodeJson, encodeJson } from '../../src/wire/serializers/json.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const interop = `${root}tests/interop/`;

export const PYTHONS: Readonly<Record<'5.2' | '5.6', string>> = {
  '5.2': '/usr/bin/python3',
  '5.6': `${root}.lovage/celery-5.6/bin/python`,
};

export function hasCelery(version: '5.2' | '5.6'): boolean {
  return existsSync(PYTHONS[version]);
}

export interface PythonReply {
  readonly id: string;
  readonly result?: unknown;
  readonly error?: { readonly type: string; readonly text: string; readonly args: unknown };
  readonly state?: string;
  readonly traceback?: string | null;
  readonly timeout?: true;
  readonly ids?: readonly string[];
  readonly nodes?: readonly string[];
  readonly info?: unknown;
  readonly states?: readonly (readonly [string, unknown])[];
  /** Ids of a workflow's tasks, the first first. */
  readonly steps?: readonly string[];
  /** Ids of the group at its end. */
  readonly members?: readonly string[];
}

export interface PythonRequest {
  readonly task: string;
  readonly args?: readonly unknown[];
  readonly kwargs?: Readonly<Record<string, unknown>>;
  readonly options?: Readonly<Record<string, unknown>>;
  /** Seconds. */
  readonly timeout?: number;
}

/** A part of a workflow, as `client.py` builds it. */
export type PythonCanvas = (
  | { readonly chain: readonly PythonCanvas[] }
  | { readonly group: readonly PythonCanvas[] }
  | (Omit<PythonRequest, 'timeout'> & { readonly immutable?: boolean })
) & { readonly link?: readonly PythonCanvas[]; readonly link_error?: readonly PythonCanvas[] };

/** Waits for the child's end; kills it after a while. */
function ended(child: ChildProcessWithoutNullStreams): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
    child.once('exit', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

/** A Celery client process. Requests are answered in order. */
export class PythonClient {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #waiting: { resolve(line: string): void; reject(error: Error): void }[] = [];
  #errors = '';

  /**
   * @param script another one than `client.py` that speaks the same
   * @param more environment of the client
   */
  constructor(
    version: '5.2' | '5.6',
    brokerUrl: string,
    resultUrl: string,
    script = 'client.py',
    more: Readonly<Record<string, string>> = {},
  ) {
    const env = { ...process.env, ...more };
    this.#child = spawn(PYTHONS[version], [`${interop}${script}`, brokerUrl, resultUrl], { stdio: 'pipe', env });
    this.#child.stderr.on('data', (chunk: Buffer) => {
      this.#errors = (this.#errors + chunk.toString()).slice(-4_000);
    });
    this.#child.on('exit', () => {
      for (const { reject } of this.#waiting.splice(0)) reject(new Error(`the Python client ended: ${this.#errors}`));
    });
    createInterface(this.#child.stdout).on('line', (line) => this.#waiting.shift()?.resolve(line));
  }

  /** The version of Celery that answers. */
  async start(): Promise<string> {
    return (JSON.parse(await this.#line()) as { celery: string }).celery;
  }

  async ask(
    request:
      | PythonRequest
      | { readonly canvas: PythonCanvas }
      | { readonly state: string }
      | { readonly extended: string }
      | { readonly send: readonly PythonRequest[] }
      | { readonly ping: number }
      | { readonly watch: PythonRequest },
  ): Promise<PythonReply> {
    const line = this.#line();
    this.#child.stdin.write(`${encodeJson(request)}\n`);
    const reply = decodeJson(await line) as PythonReply & { harness_error?: string };
    if (reply.harness_error) throw new Error(`Python: ${reply.harness_error} ${this.#errors}`);
    return reply;
  }

  async close(): Promise<void> {
    this.#child.stdin.end();
    await ended(this.#child);
  }

  #line(): Promise<string> {
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }
}

/** Which tasks a Python worker runs. */
export interface PythonApp {
  readonly folder: string;
  readonly module: string;
  readonly queue: string;
  /** Node name. @defaultValue one by the version */
  readonly name?: string;
}

const PYWORKER: PythonApp = { folder: interop, module: 'pyworker', queue: 'python' };

/** Python workers that run. A process that ends before it has stopped them takes them along, also those that are still starting. */
const running = new Set<number>();
process.once('exit', () => running.forEach(killWithChildren));

/** Celery's processes outlive a parent that is killed, so they go first; it is held meanwhile, or it would start others. */
function killWithChildren(pid: number): void {
  if (!signal(pid, 'SIGSTOP')) return;
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
  for (const one of [...children.map(Number), pid]) signal(one, 'SIGKILL');
}

/** Whether there was somebody to take it. */
function signal(pid: number, name: 'SIGSTOP' | 'SIGKILL'): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}

/**
 * A `celery worker`, of `pyworker.py` on queue `python` unless told otherwise; resolves once it says that it is ready.
 * @param more environment of the worker
 */
export async function startPythonWorker(
  version: '5.2' | '5.6',
  brokerUrl: string,
  resultUrl: string,
  { folder, module, queue, name = `py${version}@%h` }: PythonApp = PYWORKER,
  more: Readonly<Record<string, string>> = {},
): Promise<{ readonly pid: number; stop(): Promise<void>; log(): string }> {
  const env = {
    ...process.env,
    INTEROP_BROKER: brokerUrl,
    INTEROP_RESULTS: resultUrl,
    CELERY_BROKER_URL: brokerUrl,
    CELERY_RESULT_BACKEND: resultUrl,
    PYTHONDONTWRITEBYTECODE: '1',
    C_FORCE_ROOT: '1',
    ...more,
  };
  const child = spawn(
    PYTHONS[version],
    ['-m', 'celery', '-A', module, 'worker', '--concurrency', '2', '--loglevel', 'INFO', '-Q', queue, '-n', name],
    { cwd: folder, env, stdio: 'pipe' },
  );
  const { pid } = child;
  if (pid === undefined) throw new Error(`no Python could be started: ${PYTHONS[version]}`);
  running.add(pid);
  child.once('exit', () => running.delete(pid));
  let log = '';
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      killWithChildren(pid); // nobody else will end it
      reject(new Error(`the Python worker did not start: ${log}`));
    }, 30_000);
    const read = (chunk: Buffer): void => {
      log = (log + chunk.toString()).slice(-20_000);
      if (/ready\.\s*$/m.test(log)) {
        clearTimeout(timer);
        resolve();
      }
    };
    child.stdout.on('data', read);
    child.stderr.on('data', read);
    child.once('exit', (code) => reject(new Error(`the Python worker ended with ${code}: ${log}`)));
  });
  return {
    pid,
    log: () => log,
    async stop() {
      child.kill('SIGTERM');
      await ended(child);
    },
  };
}
