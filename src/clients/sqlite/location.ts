/**
 * A `file:` URL → where the database is and how it is written. Pure but for `prepareLocation`, which makes the folder and
 * refuses file systems on which SQLite's locks or shared memory do not work.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BrokerError, ConfigError } from '../../core/errors.js';
import { refuseNetworkFileSystem } from './file-system.js';

/** Where and how. */
export interface FileLocation {
  /** Absolute path of the database. */
  readonly path: string;
  /** `full`: a confirmed message survives power loss. `normal`: it survives kill -9 but not power loss. */
  readonly sync: 'full' | 'normal';
  /** Largest size of the database in bytes; `null`: as large as the disk. */
  readonly maxBytes: number | null;
  /** The user vouches for the file system. */
  readonly trusted: boolean;
}

const SIZE = /^(\d+)(?:([KMG])iB)?$/;
const UNITS: Readonly<Record<string, number>> = { K: 1_024, M: 1_048_576, G: 1_073_741_824 };
const OPTIONS = ['sync', 'maxSize', 'fileSystem'] as const;

/**
 * Parses `file:PATH?sync=normal&maxSize=512MiB&fileSystem=trusted`. A relative PATH starts at the working directory;
 * `file:///PATH` is absolute.
 * @throws ConfigError `E_CONFIG_URL`, `E_CONFIG_RANGE`, `E_CONFIG_UNKNOWN_KEY`
 */
export function parseFileUrl(url: string): FileLocation {
  const match = /^file:([^?#]*)(?:\?([^#]*))?$/i.exec(url);
  const rawPath = match?.[1] ?? '';
  if (!match || rawPath === '' || rawPath.endsWith('/')) {
    throw new ConfigError(
      'E_CONFIG_URL',
      `${JSON.stringify(url)} names no file: write file:PATH, for example file:./.lovage/queue.db`,
    );
  }
  const options = new URLSearchParams(match[2] ?? '');
  for (const key of options.keys()) {
    if (!(OPTIONS as readonly string[]).includes(key)) {
      throw new ConfigError(
        'E_CONFIG_UNKNOWN_KEY',
        `${JSON.stringify(url)} has the unknown option '${key}': file: URLs take ${OPTIONS.join(', ')}`,
      );
    }
  }
  return {
    path: toPath(rawPath, url),
    sync: oneOf(options.get('sync') ?? 'full', ['full', 'normal'], 'sync'),
    maxBytes: toBytes(options.get('maxSize')),
    trusted: options.has('fileSystem') && oneOf(options.get('fileSystem') ?? '', ['trusted'], 'fileSystem') === 'trusted',
  };
}

function toPath(raw: string, url: string): string {
  try {
    // `//host/…` and percent signs: only as in a real file URL
    return raw.startsWith('//') ? fileURLToPath(`file:${raw}`) : resolve(decodeURIComponent(raw));
  } catch (error) {
    throw new ConfigError(
      'E_CONFIG_URL',
      `${JSON.stringify(url)} is no path on this machine: write file:PATH or file:///PATH, with % as %25`,
      {
        cause: error,
      },
    );
  }
}

function oneOf<const T extends string>(value: string, allowed: readonly T[], name: string): T {
  const found = allowed.find((candidate) => candidate === value);
  if (found === undefined)
    throw new ConfigError('E_CONFIG_RANGE', `option ${name} of a file: URL is '${value}': it can be ${allowed.join(' or ')}`);
  return found;
}

function toBytes(value: string | null): number | null {
  if (value === null) return null;
  const match = SIZE.exec(value);
  const bytes = match ? Number(match[1]) * (UNITS[match[2] ?? ''] ?? 1) : 0;
  if (!(bytes >= 262_144))
    throw new ConfigError(
      'E_CONFIG_RANGE',
      `option maxSize of a file: URL is '${value}': write for example 512MiB, at least 256KiB`,
    );
  return bytes;
}

/**
 * Makes the folder and checks the file system.
 * @throws BrokerError `E_BROKER_UNREACHABLE`, `E_FILE_SYSTEM`
 */
export function prepareLocation(location: FileLocation): void {
  const folder = dirname(location.path);
  try {
    makeFolder(folder);
  } catch (error) {
    throw new BrokerError(
      'E_BROKER_UNREACHABLE',
      `the folder ${folder} cannot be made: create it, or give a file: URL in a folder that you can write to`,
      {
        cause: error,
      },
    );
  }
  if (!location.trusted) refuseNetworkFileSystem(folder);
}

/** `recursive: true` of Node never returns where making a folder fails with ENOENT though its parent exists (in /proc). */
function makeFolder(folder: string): void {
  const parent = dirname(folder);
  if (parent !== folder && !existsSync(parent)) makeFolder(parent);
  try {
    mkdirSync(folder);
  } catch (error) {
    // it was there, or another process was faster
    if (!existsSync(folder)) throw error;
  }
}
