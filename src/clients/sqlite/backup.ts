/**
 * Copies a live database: a consistent snapshot, compacted, while everybody goes on working. Copying the files by other
 * means would tear them, and would drop this process's locks on them.
 */
import { once } from 'node:events';
import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync, statSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { BrokerError, ConfigError } from '../../core/errors.js';
import { openDatabase } from './database.js';
import { toBrokerError } from './faults.js';
import { parseFileUrl } from './location.js';
import { builtHref } from './thread-backend.js';

const LOOK_EVERY_MS = 100;
const OPEN_TIMEOUT_MS = 5_000;

/**
 * Copies the database of a `file:` URL to a new file that can be opened like the original.
 * @param onProgress called with the share that is done, 0 to 1
 * @throws ConfigError `E_CONFIG_URL`, `E_CONFIG_CONFLICT` when the destination exists
 * @throws BrokerError `E_BROKER_UNREACHABLE`, `E_BROKER_FULL`, `E_BROKER_CORRUPT`
 */
export async function backupDatabase(url: string, destination: string, onProgress?: (share: number) => void): Promise<void> {
  const location = parseFileUrl(url);
  if (!existsSync(location.path))
    throw new BrokerError('E_BROKER_UNREACHABLE', `there is no file ${location.path} to copy: check the broker URL`);
  if (existsSync(destination))
    throw new ConfigError('E_CONFIG_CONFLICT', `${destination} exists: give the copy a name that is free`);
  const expected = await sizeOf(location.path, url);
  const partial = `${destination}.partial`;
  rmSync(partial, { force: true });
  const here = import.meta.url.endsWith('.ts') ? './backup-entry.ts' : './backup-entry.js';
  const worker = new Worker(new URL(builtHref(new URL(here, import.meta.url).href)), {
    name: 'lovage-backup',
    execArgv: [],
    workerData: { path: location.path, destination: partial },
  });
  const progress = setInterval(() => onProgress?.(Math.min(copied(partial) / expected, 0.99)), LOOK_EVERY_MS);
  try {
    // 'error' rejects; the exit code needs no look
    await once(worker, 'exit');
    flush(partial);
    renameSync(partial, destination);
  } catch (error) {
    rmSync(partial, { force: true });
    throw toBrokerError(error, location.path);
  } finally {
    clearInterval(progress);
  }
  onProgress?.(1);
}

/** Bytes of the pages in use: what the copy will have, nearly. */
async function sizeOf(path: string, url: string): Promise<number> {
  const database = await openDatabase(parseFileUrl(url), OPEN_TIMEOUT_MS);
  try {
    const read = (name: string): number => Number(database.connection.prepare(`PRAGMA ${name}`).get([])?.[name] ?? 0);
    return Math.max(1, (read('page_count') - read('freelist_count')) * read('page_size'));
  } catch (error) {
    throw toBrokerError(error, path);
  } finally {
    database.close();
  }
}

function copied(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

/** The copy is not open in any database here, so opening it drops no locks. */
function flush(path: string): void {
  const file = openSync(path, 'r+');
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
