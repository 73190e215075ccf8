/** Gets the app for an executor: it is here already, or its file is loaded. */
import type { App } from '../../app/app.js';
import type { AppSource } from '../pools/pool.js';
import { loadAppFile } from './load-app.js';

const EXECUTOR_MARK = Symbol.for('lovage.executor');

/** Marks this thread as an executor: an `app.worker()` at the top level of the app file must not start a worker in a worker. */
export function markExecutorThread(): void {
  (globalThis as Record<symbol, unknown>)[EXECUTOR_MARK] = true;
}

export function isExecutorThread(): boolean {
  return (globalThis as Record<symbol, unknown>)[EXECUTOR_MARK] === true;
}

/** @throws ConfigError `E_APP_FILE` */
export async function loadSource(source: AppSource): Promise<App> {
  return 'app' in source ? source.app : loadAppFile(source.file, source.exportName);
}
