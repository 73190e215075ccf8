/**
 * What may end a worker's process besides the worker: signals, exceptions that nobody caught, and `process.exit()` in user code.
 * Owns the listeners; what is done about it is `worker.ts`. Only for a process that is the worker's own (the command line):
 * an app that starts a worker in its own process keeps its own manners.
 */
import { TaskError, toError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';

export interface GuardOptions {
  readonly logger: Logger;
  /** TERM or INT; called for each one. */
  onSignal(): void;
  /** Something reached the process that nobody caught; called once. The process is not to be trusted much longer. */
  onCrash(error: Error): void;
}

/** Starts listening; the returned function ends it, and from then on the process may exit. */
export function guardProcess({ logger, onSignal, onCrash }: GuardOptions): () => void {
  let crashed = false;
  const crash = (kind: 'exception' | 'rejection', thrown: unknown): void => {
    const error = toError(thrown);
    logger.error({ err: error }, `an ${kind === 'rejection' ? 'unhandled rejection' : 'uncaught exception'} reached the process`);
    if (crashed) return;
    crashed = true;
    const message = `${kind === 'exception' ? 'an' : 'a'} ${kind} that nobody caught reached the process that runs tasks: ${error.name}: ${error.message}`;
    onCrash(new TaskError('E_UNCAUGHT', message, { cause: error }));
  };
  const onTermination = (signal: NodeJS.Signals): void => {
    logger.info({ signal }, 'asked to stop');
    onSignal();
  };
  const onException = (thrown: unknown): void => crash('exception', thrown);
  const onRejection = (thrown: unknown): void => crash('rejection', thrown);
  /** 0 means "asked to stop, and all was handed back", and nobody may say so in the worker's name. */
  const onExit = (code: number): void => {
    const exitCode = code === 0 ? 1 : code;
    process.exitCode = exitCode;
    logger.error(
      { exitCode, code: 'E_UNCAUGHT', remedy: 'throw an error in the task instead, or run it in another pool' },
      `the worker ended: process.exit(${code}) was called by code that it runs; what it held starts elsewhere when its lease is over`,
    );
  };
  process.on('SIGTERM', onTermination);
  process.on('SIGINT', onTermination);
  process.on('uncaughtException', onException);
  process.on('unhandledRejection', onRejection);
  process.on('exit', onExit);
  return () => {
    process.off('SIGTERM', onTermination);
    process.off('SIGINT', onTermination);
    process.off('uncaughtException', onException);
    process.off('unhandledRejection', onRejection);
    process.off('exit', onExit);
  };
}
