/**
 * Signatures that run one task for many rows: `map` and `starmap` are one message each, `chunks` a group of starmaps (wire section
 * 7.6). They are immutable: what stands before them in a chain gives them nothing. The worker's half is `builtins.ts`.
 */
import { ArgumentError, ConfigError } from '../../core/errors.js';
import { makeSignature, type WireSignature } from '../../wire/signature.js';
import type { PreparedCall } from '../publish.js';
import type { Eventually } from '../validate.js';
import { CanvasSignature, type SignatureHost } from './signature.js';
import { callOnWire } from './signature-options.js';

type Args = readonly unknown[];

/** A task with call options, whose rows are to come. */
export interface RowCall {
  readonly host: SignatureHost;
  readonly call: PreparedCall;
  /** Checks the arguments of one row; what it returns is only awaited. */
  check(args: Args): Eventually<unknown>;
}

type Mapping = 'celery.map' | 'celery.starmap';

/** @throws ArgumentError `E_ARGUMENTS` */
export function mapSignature(name: Mapping, row: RowCall, given: unknown): CanvasSignature {
  return mapping(name, row, rowsIn(given, name, row.call.task));
}

/** @throws ArgumentError `E_ARGUMENTS`; ConfigError `E_CONFIG_RANGE`, `E_CONFIG_CONFLICT` */
export function chunksSignature(row: RowCall, given: unknown, size: unknown): CanvasSignature {
  const { task, options } = row.call;
  if (typeof size !== 'number' || !Number.isInteger(size) || size < 1)
    throw new ConfigError('E_CONFIG_RANGE', `task ${task}: chunks() takes a whole number of rows from 1 on, not ${String(size)}`);
  if (options.id !== null)
    throw new ConfigError('E_CONFIG_CONFLICT', `task ${task}: chunks() makes several tasks, and an id is that of one`);
  const rows = rowsIn(given, 'celery.starmap', task);
  if (rows.length === 0) throw new ArgumentError('E_ARGUMENTS', `task ${task}: chunks() has no row to cut`);
  const members: CanvasSignature[] = [];
  for (let at = 0; at < rows.length; at += size) members.push(mapping('celery.starmap', row, rows.slice(at, at + size)));
  return CanvasSignature.group(members, row.host);
}

function mapping(name: Mapping, { host, call, check }: RowCall, it: readonly unknown[]): CanvasSignature {
  const isMap = name === 'celery.map';
  const wire: WireSignature = makeSignature(name, {
    kwargs: { task: makeSignature(call.task), it },
    options: callOnWire(call, host.canvasFacts().lowerIsSooner),
    subtask_type: isMap ? 'xmap' : 'xstarmap',
    immutable: true,
  });
  const checks = async (): Promise<void> => {
    for (const [index, row] of it.entries()) {
      try {
        await check(isMap ? [row] : (row as Args));
      } catch (error) {
        if (!(error instanceof ArgumentError)) throw error;
        throw new ArgumentError(error.code, `row ${index} of ${name}: ${error.message}`, { cause: error });
      }
    }
  };
  return new CanvasSignature(host, name, wire, [checks], false);
}

/** @throws ArgumentError `E_ARGUMENTS` */
function rowsIn(given: unknown, name: Mapping, task: string): readonly unknown[] {
  if (!Array.isArray(given)) throw new ArgumentError('E_ARGUMENTS', `task ${task}: ${name} takes a list, not a ${typeof given}`);
  const wrong = name === 'celery.starmap' ? given.findIndex((row) => !Array.isArray(row)) : -1;
  if (wrong >= 0) throw new ArgumentError('E_ARGUMENTS', `task ${task}: row ${wrong} of ${name} is no list of arguments`);
  // a copy: a signature never changes, whatever becomes of the caller's list
  return name === 'celery.map' ? [...given] : given.map((row: readonly unknown[]) => [...row]);
}
