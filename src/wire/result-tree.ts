/**
 * Results of a workflow as Celery's result tuples (wire section 6.5): `[[id, parent], members]`, where the parent is a tuple too, and
 * as they are saved: `{"result": tuple}`. Pure.
 */
import { WireError } from '../core/errors.js';
import type { ResultChild } from './result-meta.js';
import { decodeJson } from './serializers/json.js';

/** The result of a task, or of a group with its members; and what stands before it in its workflow. */
export interface ResultTree {
  readonly id: string;
  /** The task's name, where it is known; `null` for groups. */
  readonly name: string | null;
  readonly parent: ResultTree | null;
  /** `null` = a task. */
  readonly members: readonly ResultTree[] | null;
}

/** Readers follow nested tuples as deep as 200 levels, and each parent is two. */
const MOST_PARENTS = 60;
/** Celery's own go as deep as its workflows are long. */
const MAX_DEPTH = 2_000;

/**
 * What Celery's `GroupResult.save()` writes. Names of tasks stand beside it, where Celery does not look. Of a longer line only the last
 * 60 parents are written.
 */
export function encodeSavedResult(tree: ResultTree): string {
  const names = new Map<string, string>();
  const result = tupleOf(tree, MOST_PARENTS, names);
  const named = names.size === 0 ? '' : `,"lovage_names":${JSON.stringify(Object.fromEntries(names))}`;
  return `{"result":${result}${named}}`;
}

function tupleOf({ id, name, parent, members }: ResultTree, parentsLeft: number, names: Map<string, string>): string {
  if (name !== null) names.set(id, name);
  const before = parent === null || parentsLeft === 0 ? 'null' : tupleOf(parent, parentsLeft - 1, names);
  const inside = members === null ? 'null' : `[${members.map((member) => tupleOf(member, parentsLeft - 1, names)).join(',')}]`;
  return `[[${JSON.stringify(id)},${before}],${inside}]`;
}

/** @throws WireError `E_DECODE` for what is no saved result */
export function decodeSavedResult(text: string): ResultTree {
  const saved = decodeJson(text, { maxDepth: MAX_DEPTH, typed: false });
  const { result, lovage_names: names } = (isObject(saved) ? saved : {}) as Record<string, unknown>;
  const known = isObject(names) ? names : {};
  const tree = readTuple(result, (id) => {
    const name = Object.hasOwn(known, id) ? known[id] : null;
    return typeof name === 'string' ? name : null;
  });
  if (tree === null) throw new WireError('E_DECODE', 'the stored text is no saved result: it has no tuple with an id');
  return tree;
}

function readTuple(tuple: unknown, nameOf: (id: string) => string | null): ResultTree | null {
  if (!Array.isArray(tuple)) return null;
  const [head, members] = tuple as unknown[];
  const [id, parent] = Array.isArray(head) ? (head as unknown[]) : [head, null];
  if (typeof id !== 'string' || id === '') return null;
  const inside = Array.isArray(members) ? members.flatMap((member) => readTuple(member, nameOf) ?? []) : null;
  return { id, name: inside === null ? nameOf(id) : null, parent: readTuple(parent, nameOf), members: inside };
}

/** What a stored result says that its task sent. */
export const treeOfChild = (child: ResultChild): ResultTree =>
  typeof child === 'string'
    ? { id: child, name: null, parent: null, members: null }
    : { id: child.group, name: null, parent: null, members: child.members.map(treeOfChild) };

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
