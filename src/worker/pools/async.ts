/**
 * Pool `async`: user code on this thread, the engine in a thread of its own. A task that keeps the loop costs its
 * neighbours time but never a lease or a connection.
 */
import { MessageChannel, Worker as Thread } from 'node:worker_threads';
import type { ErrorCode } from '../../core/error-codes.js';
import { ConfigError, LovageError, TaskError } from '../../core/errors.js';
import type { WorkerReport } from '../../core/worker-report.js';
import type { EngineThreadData, FromEngineThread, ToEngineThread } from '../engine/engine-thread.js';
import { Executor } from '../executor/executor.js';
import { loadSource } from '../executor/load-source.js';
import type { FromExecutor, ToExecutor } from '../port.js';
import type { PoolSetup, RunningPool, StopReport, WorkerStats } from './pool.js';
import { messagePortEnd } from './port-ends.js';
import { logFromPort } from './port-log.js';

export async function startAsyncPool(setup: PoolSetup): Promise<RunningPool> {
  const { options, logger, log } = setup;
  const app = await loadSource(setup.source);
  const { brokerUrl } = options.engine;
  if ((brokerUrl ?? app.config.brokerUrl).startsWith('memory:')) {
    throw new ConfigError(
      'E_CONFIG_CONFLICT',
      "pool 'async' runs its engine in another thread, which cannot see a memory: broker: use pool 'inline' or a file: broker",
    );
  }
  const { port1, port2 } = new MessageChannel();
  const entered = new Int32Array(new SharedArrayBuffer(4));
  const data: EngineThreadData = { options: options.engine, log, executorPort: port2, entered };
  const thread = new Thread(new URL('../engine/engine-thread.js', import.meta.url), {
    workerData: data,
    transferList: [port2],
    name: 'lovage-engine',
  });
  const executor = new Executor(app, messagePortEnd<FromExecutor, ToExecutor>(port1), logger, { entered });
  let stopping = false;
  let onStopped: ((report: StopReport) => void) | null = null;
  const statsAsked: ((stats: WorkerStats) => void)[] = [];
  const reportAsked: ((report: WorkerReport) => void)[] = [];
  let askedToStop!: (reason: string) => void;
  const asked = new Promise<string>((resolve) => (askedToStop = resolve));
  const post = (message: ToEngineThread): void => thread.postMessage(message);

  const started = new Promise<void>((resolve, reject) => {
    let cause = 'it exited';
    thread.on('message', (message: FromEngineThread) => {
      if (message.type === 'log') logFromPort(logger, message);
      else if (message.type === 'started') resolve();
      else if (message.type === 'failed') reject(new LovageError(message.code as ErrorCode, message.message));
      else if (message.type === 'stopped') onStopped?.(message.report);
      else if (message.type === 'asked-to-stop') askedToStop(message.reason);
      else if (message.type === 'stats') statsAsked.shift()?.(message.stats);
      else reportAsked.shift()?.(message.report);
    });
    thread.on('error', (error: unknown) => {
      cause = error instanceof Error ? (error.stack ?? error.message) : String(error);
    });
    thread.on('exit', (code) => {
      const error = new TaskError('E_INTERNAL', `the engine thread died (code ${code}): ${cause}`);
      reject(error);
      if (!stopping) setup.onFatal(error);
      onStopped?.({ handedBack: 0, handBackFailed: true });
    });
  });
  try {
    await Promise.all([started, executor.start()]);
  } catch (error) {
    stopping = true;
    app.attachGateway(null);
    port1.close();
    await thread.terminate();
    throw error;
  }
  let report: Promise<StopReport> | null = null;
  return {
    async stop(graceMs, crash) {
      stopping = true;
      // Asked again, the engine hurries; the answer is the first one's.
      post({ type: 'stop', graceMs, ...(crash === undefined ? {} : { crash }) });
      report ??= new Promise<StopReport>((resolve) => {
        onStopped = resolve;
      }).then(async (stopped) => {
        port1.close();
        await thread.terminate();
        return stopped;
      });
      return report;
    },
    stats: () =>
      new Promise((resolve) => {
        statsAsked.push(resolve);
        post({ type: 'stats' });
      }),
    report: () =>
      new Promise((resolve) => {
        reportAsked.push(resolve);
        post({ type: 'report' });
      }),
    askedToStop: asked,
  };
}
