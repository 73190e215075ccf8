/**
 * What kind of canvas a signature is, and its parts (wire sections 7.3 to 7.6). Reads what Celery and Lovage write; makes what
 * both read. Pure.
 */
import { WireError } from '../core/errors.js';
import { makeSignature, parseSignature, parseSignatures, type WireSignature } from '../wire/signature.js';

export type CanvasKind = 'task' | 'chain' | 'group' | 'chord' | 'chunks';

const KINDS: Readonly<Record<string, CanvasKind>> = {
  'celery.chain': 'chain',
  'celery.group': 'group',
  'celery.chord': 'chord',
  'celery.chunks': 'chunks',
};

/** `celery.map` and `celery.starmap` are tasks: one message runs the whole list. */
export const kindOf = (signature: WireSignature): CanvasKind => KINDS[signature.task] ?? 'task';

export function makeChain(tasks: readonly WireSignature[]): WireSignature {
  return makeSignature('celery.chain', { kwargs: { tasks }, subtask_type: 'chain' });
}

export function makeGroup(tasks: readonly WireSignature[], id?: string): WireSignature {
  const options = id === undefined ? {} : { task_id: id };
  return makeSignature('celery.group', { kwargs: { tasks }, options, subtask_type: 'group' });
}

/** The options of the whole are those of Celery's: the id is that of the header's group. */
export function makeChord(header: WireSignature, body: WireSignature): WireSignature {
  const { task_id } = header.options;
  const options = task_id === undefined ? {} : { task_id };
  return makeSignature('celery.chord', { kwargs: { kwargs: {}, header, body }, options, subtask_type: 'chord' });
}

/** Steps of a chain, or members of a group. @throws WireError `E_DECODE` */
export function tasksOf(signature: WireSignature): WireSignature[] {
  const { tasks } = signature.kwargs;
  if (!Array.isArray(tasks)) throw new WireError('E_DECODE', `a ${signature.task} has no array of tasks`);
  return parseSignatures(tasks, `tasks of ${signature.task}`);
}

/** Header and body of a chord. Older senders write the header as an array. @throws WireError `E_DECODE` */
export function partsOf(chord: WireSignature): { readonly header: WireSignature; readonly body: WireSignature } {
  const { header, body } = chord.kwargs;
  return {
    header: Array.isArray(header)
      ? makeGroup(parseSignatures(header, 'the header of a chord'))
      : parseSignature(header, 'the header of a chord'),
    body: parseSignature(body, 'the body of a chord'),
  };
}

/** A `celery.chunks` signature as the group of `celery.starmap` tasks that it stands for. @throws WireError `E_DECODE` */
export function chunksAsGroup(chunks: WireSignature): WireSignature {
  const { task, it, n } = chunks.kwargs;
  if (!Array.isArray(it)) throw new WireError('E_DECODE', 'a celery.chunks has no array to cut');
  if (typeof n !== 'number' || !Number.isInteger(n) || n < 1)
    throw new WireError('E_DECODE', 'a celery.chunks has no whole number of at least 1 as n');
  const members: WireSignature[] = [];
  for (let start = 0; start < it.length; start += n) {
    const kwargs = { task, it: it.slice(start, start + n) };
    // immutable as Celery's: a result before it would be an argument too many for a Python worker
    members.push(makeSignature('celery.starmap', { kwargs, subtask_type: 'xstarmap', immutable: true }));
  }
  return { ...makeGroup(members), options: chunks.options };
}

/** A copy with other tasks. */
export const withTasks = (signature: WireSignature, tasks: readonly WireSignature[]): WireSignature => ({
  ...signature,
  kwargs: { ...signature.kwargs, tasks },
});

/**
 * Celery writes a chord's body with steps behind it as one task whose options hold them, reversed (`chain`): here they are a chain.
 * Everything else stays as it is.
 */
export function unfolded(signature: WireSignature): WireSignature {
  const { chain, ...options } = signature.options;
  if (kindOf(signature) !== 'task' || !Array.isArray(chain)) return signature;
  const first = { ...signature, options };
  return chain.length === 0 ? first : makeChain([first, ...parseSignatures(chain, 'options.chain').reverse()]);
}
