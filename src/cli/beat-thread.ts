/**
 * The scheduler of `lovage worker --beat`, in a thread of its own: neither tasks nor the engine hold it up, and it ends with the process.
 * `startBeatThread` is for the worker's command; the rest of this file runs inside the thread.
 */
import { isMainThread, parentPort, Worker as Thread, workerData } from 'node:worker_threads';
import type { RunningBeat } from '../beat/beat.js';
import { BrokerError, codeOf, LovageError, toError } from '../core/errors.js';
import { createLogger, type LogFormat, type LogLevel } from '../core/log-output.js';
import { resolveConnection } from './options.js';

export interface BeatThreadOptions {
  readonly app: string;
  readonly broker?: string;
  readonly results?: string;
  readonly connectTries?: number;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
}

type FromThread =
  | { readonly type: 'started' | 'stopped' }
  | { readonly type: 'broken'; readonly code: string | undefined; readonly message: string };

/** How long a stopping worker waits for the lead to be given back: others take it by themselves a moment later. */
const STOP_MS = 2_000;

/** Resolves once it has begun. @throws what kept it from that */
export async function startBeatThread(options: BeatThreadOptions): Promise<{ stop(): Promise<void> }> {
  const thread = new Thread(new URL('./beat-thread.js', import.meta.url), { workerData: { lovageBeat: options } });
  const next = (): Promise<FromThread> =>
    new Promise((resolve, reject) => {
      thread.once('message', resolve);
      thread.once('error', reject);
      thread.once('exit', () => reject(new BrokerError('E_CLOSED', 'the thread of the scheduler has ended')));
    });
  const first = await next();
  if (first.type === 'broken') {
    await thread.terminate();
    throw Object.assign(new LovageError('E_INTERNAL', first.message), { code: first.code });
  }
  thread.on('error', (error) => {
    createLogger({ level: options.logLevel, format: options.logFormat }).error(
      { err: error },
      'beat: the scheduler of this worker has ended; the worker goes on, and other schedulers lead',
    );
  });
  thread.unref();
  return {
    async stop() {
      const stopped = next().catch(() => {});
      thread.postMessage('stop');
      await Promise.race([stopped, new Promise((resolve) => setTimeout(resolve, STOP_MS))]);
      await thread.terminate();
    },
  };
}

async function runInside({ app: file, broker, results, connectTries, logLevel, logFormat }: BeatThreadOptions): Promise<void> {
  const port = parentPort;
  if (port === null) return;
  const post = (message: FromThread): void => port.postMessage(message);
  const { startBeat } = await import('../beat/beat.js');
  let beat: RunningBeat;
  try {
    const urls = { ...(broker !== undefined && { broker }), ...(results !== undefined && { results }) };
    const { app, config } = await resolveConnection({ app: file, timeout: '5s', ...urls }, { app: true });
    if (app === null) throw new LovageError('E_APP_FILE', 'there is no app file');
    const logger = createLogger({ level: logLevel, format: logFormat });
    beat = await startBeat({ app, config, logger, connectTries: connectTries ?? null });
  } catch (thrown) {
    return post({ type: 'broken', code: codeOf(thrown), message: toError(thrown).message });
  }
  post({ type: 'started' });
  port.once('message', () => {
    void beat.close().finally(() => post({ type: 'stopped' }));
  });
}

const inside = isMainThread ? undefined : (workerData as { readonly lovageBeat?: BeatThreadOptions } | null)?.lovageBeat;
if (inside !== undefined) await runInside(inside);
