/**
 * What SQLite's result codes mean for a caller: which are worth waiting for, and which typed error the others become.
 */
import type { ErrorCode } from '../../core/error-codes.js';
import { BrokerError, LovageError, toError } from '../../core/errors.js';

const BUSY = 5;
const LOCKED = 6;
const READONLY = 8;
const IOERR = 10;
const CORRUPT = 11;
const FULL = 13;
const CANTOPEN = 14;
const PROTOCOL = 15;
const NOTADB = 26;
/** Extended codes of IOERR that mean a full disk or quota: writing, syncing, and growing the shared memory file. */
const IOERR_SHMSIZE = 4_874;

const BY_NAME: Readonly<Record<string, number>> = {
  SQLITE_BUSY: BUSY,
  SQLITE_LOCKED: LOCKED,
  SQLITE_READONLY: READONLY,
  SQLITE_IOERR: IOERR,
  SQLITE_CORRUPT: CORRUPT,
  SQLITE_FULL: FULL,
  SQLITE_CANTOPEN: CANTOPEN,
  SQLITE_PROTOCOL: PROTOCOL,
  SQLITE_NOTADB: NOTADB,
};

/** The extended result code, or `undefined` if the error is not SQLite's. `node:sqlite` says `errcode`, libsql `rawCode` and a name. */
function extendedCode(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const { errcode, rawCode, code } = error as { readonly errcode?: unknown; readonly rawCode?: unknown; readonly code?: unknown };
  if (typeof errcode === 'number') return errcode;
  if (typeof rawCode === 'number') return rawCode;
  if (typeof code !== 'string') return undefined;
  const exact = BY_NAME[code];
  if (exact !== undefined) return exact;
  for (const name in BY_NAME) if (code.startsWith(`${name}_`)) return BY_NAME[name];
  return undefined;
}

/** Another process holds the lock: the same call will work in a moment. */
export function isBusy(error: unknown): boolean {
  const code = extendedCode(error);
  if (code === undefined) return false;
  const primary = code & 0xff;
  return primary === BUSY || primary === LOCKED || primary === PROTOCOL;
}

/** No room for a page more. */
export function isFull(error: unknown): boolean {
  const code = extendedCode(error);
  return code !== undefined && (code === IOERR_SHMSIZE || (code & 0xff) === FULL);
}

/** SQLite's error as one of ours; errors of ours pass through. */
export function toBrokerError(error: unknown, path: string): LovageError {
  if (error instanceof LovageError) return error;
  const extended = extendedCode(error);
  const cause = toError(error);
  const make = (code: ErrorCode, message: string): BrokerError =>
    new BrokerError(code, `${message} (${cause.message})`, { cause });
  if (extended === undefined) return make('E_INTERNAL', `an operation on ${path} failed`);
  if (extended === IOERR_SHMSIZE)
    return make('E_BROKER_FULL', `no room left for ${path}-shm; nothing was written: free disk space`);
  switch (extended & 0xff) {
    case FULL:
      return make(
        'E_BROKER_FULL',
        `no room left for ${path}; nothing was written: free disk space, purge queues, or raise maxSize`,
      );
    case CORRUPT:
    case NOTADB:
      return make(
        'E_BROKER_CORRUPT',
        `${path} is damaged or is no Lovage file: put it aside and restore a backup (\`lovage queues backup\` makes them)`,
      );
    case BUSY:
    case LOCKED:
    case PROTOCOL:
      return make('E_BROKER_UNREACHABLE', `${path} stayed locked by another process: look for one that is stopped or stuck`);
    case READONLY:
    case CANTOPEN:
      return make(
        'E_BROKER_UNREACHABLE',
        `${path} cannot be opened for writing: check that the folder exists and its permissions`,
      );
    case IOERR:
      return make('E_BROKER_UNREACHABLE', `reading or writing ${path} failed: check the disk and the system log`);
    default:
      return make('E_INTERNAL', `an operation on ${path} failed`);
  }
}
