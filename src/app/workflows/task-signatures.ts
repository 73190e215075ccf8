/** The methods of a task that make signatures: of one call (`s`, `si`), or of one for each row. Next stop: `signature.ts`. */
import { type Args, type Kwargs, oneObject, trimmed } from '../bind.js';
import type { CallOptions } from '../call-options.js';
import type { PreparedCall } from '../publish.js';
import type { BoundTask } from '../task-types.js';
import type { Eventually } from '../validate.js';
import { chunksSignature, mapSignature, type RowCall } from './row-signatures.js';
import { type SignatureHost, taskSignature } from './signature.js';
import { refuseNotCarried } from './signature-options.js';

/** What of a task its signatures need. */
export interface SignatureCore {
  readonly host: { readonly signatures: SignatureHost };
  readonly name: string;
  readonly byKeyword: boolean;
  check(args: Args): Eventually<unknown>;
}

const NO_ARGS: Args = Object.freeze([]);
const NO_KWARGS: Kwargs = Object.freeze({});

/** Of all arguments, or of those behind the one that the link before gives; for an object task, of fields over what it gives. */
function signatureOf(core: SignatureCore, call: PreparedCall, given: CallOptions, bound: Args, immutable: boolean): never {
  refuseNotCarried(given, `task ${core.name}: with()`);
  const args = trimmed(bound);
  if (core.byKeyword && args.length > 0) oneObject(core.name, args);
  const parts = core.byKeyword ? { args: NO_ARGS, kwargs: (args[0] ?? NO_KWARGS) as Kwargs } : { args, kwargs: NO_KWARGS };
  const check = immutable ? () => core.check(args) : null;
  return taskSignature(core.host.signatures, call, { ...parts, immutable }, check) as never;
}

export function signaturesOf(
  core: SignatureCore,
  call: PreparedCall,
  given: CallOptions,
): Pick<BoundTask<Args, unknown>, 's' | 'si' | 'map' | 'starmap' | 'chunks'> {
  const rowCall = (): RowCall => {
    refuseNotCarried(given, `task ${core.name}: with()`);
    return { host: core.host.signatures, call, check: core.check };
  };
  return {
    s: (...tail: Args) => signatureOf(core, call, given, tail, false),
    si: (...args) => signatureOf(core, call, given, args, true),
    map: (rows) => mapSignature('celery.map', rowCall(), rows) as never,
    starmap: (rows) => mapSignature('celery.starmap', rowCall(), rows) as never,
    chunks: (rows, size) => chunksSignature(rowCall(), rows, size) as never,
  };
}
