/**
 * A workflow as a graph: what its sender knows of it, what was saved, and what stored results tell of what they sent and who sent them.
 * Reads in pages, breadth first, and stops at a limit. Drawing it is for others (`cli/graph-drawing.ts`).
 */
import { ConfigError, codeOf } from '../../core/errors.js';
import { decodeException } from '../../wire/exception-info.js';
import { decodeResultMeta, type ResultMeta } from '../../wire/result-meta.js';
import { decodeSavedResult, type ResultTree, treeOfChild } from '../../wire/result-tree.js';
import { holdsException } from '../../wire/task-states.js';
import type { Gateway } from '../gateway.js';

/** Options of `handle.graph()`. */
export interface GraphOptions {
  /** How many tasks and groups it has at most, 1 to 100,000; those beyond are counted in `more`. @defaultValue 1,000 */
  readonly limit?: number;
}

/** A task or a group of a workflow. */
export interface WorkflowNode {
  readonly id: string;
  readonly kind: 'task' | 'group';
  /** The task's name, where the sender, what was saved or the result tells it; `null` otherwise and for groups. */
  readonly name: string | null;
  /** As `handle.state()`: PENDING where nothing is known yet. `null` for groups. */
  readonly state: string | null;
  /** The error of a FAILURE, RETRY or REVOKED: `TypeError: …`. */
  readonly error: string | null;
  readonly finishedAt: Date | null;
  /** Milliseconds from the end of what stands before it to its own end, waiting included; `null` where one of them is not known. */
  readonly tookMs: number | null;
}

/** `member`: from a group to a task in it. `next`: from what ended to what followed it, or what it sent. */
export interface WorkflowEdge {
  readonly from: string;
  readonly to: string;
  readonly kind: 'next' | 'member';
}

/** A workflow, as far as it is known. */
export interface WorkflowGraph {
  /** In the order in which they were found, which begins where you asked. */
  readonly nodes: readonly WorkflowNode[];
  readonly edges: readonly WorkflowEdge[];
  /** Tasks and groups that are known of but left out, because there are more than the limit. */
  readonly more: number;
}

const DEFAULT_LIMIT = 1_000;
const MOST_NODES = 100_000;
const READ_PAGE = 500;

interface Found {
  readonly id: string;
  readonly kind: 'task' | 'group';
  name: string | null;
  meta: ResultMeta | null;
}

/** @throws ConfigError `E_CONFIG_RANGE` */
export async function readGraph(
  gateway: Pick<Gateway, 'getResults' | 'savedResults'>,
  start: ResultTree,
  { limit = DEFAULT_LIMIT }: GraphOptions,
): Promise<WorkflowGraph> {
  if (!Number.isInteger(limit) || limit < 1 || limit > MOST_NODES)
    throw new ConfigError('E_CONFIG_RANGE', `graph(): limit is ${String(limit)}: use a whole number from 1 to ${MOST_NODES}`);
  const found = new FoundGraph(limit);
  found.addTree(start);
  for (let at = 0; ; ) {
    const page = found.unread.slice(at, at + READ_PAGE);
    if (page.length === 0) break;
    at += page.length;
    const [metas, saved] = await Promise.all([gateway.getResults(page), loadSaved(gateway, page)]);
    for (const [index, id] of page.entries()) {
      const tree = readSaved(saved[index] ?? null);
      if (tree !== null) found.addTree(tree);
      const meta = readMeta(metas[index] ?? null);
      if (meta !== null) found.addMeta(id, meta);
    }
  }
  return found.graph();
}

async function loadSaved(gateway: Pick<Gateway, 'savedResults'>, ids: readonly string[]): Promise<readonly (string | null)[]> {
  try {
    return await gateway.savedResults({ kind: 'load', ids });
  } catch (error) {
    if (codeOf(error) !== 'E_NOT_SUPPORTED') throw error;
    return []; // where only the sender reads results nothing can be saved
  }
}

function readSaved(text: string | null): ResultTree | null {
  try {
    return text === null ? null : decodeSavedResult(text);
  } catch {
    return null; // what cannot be read tells nothing
  }
}

function readMeta(text: string | null): ResultMeta | null {
  try {
    return text === null ? null : decodeResultMeta(text);
  } catch {
    return null;
  }
}

class FoundGraph {
  /** Tasks whose results are to be read, in order; groups have none, but may be saved. */
  readonly unread: string[] = [];
  readonly #limit: number;
  readonly #nodes = new Map<string, Found>();
  readonly #edges = new Map<string, WorkflowEdge>();
  /** Groups of tasks as their results tell it: of a chain in a group, of its last task only. */
  readonly #groupOf = new Map<string, string>();
  /** Bounded by what one page of results can name. */
  readonly #left = new Set<string>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Whether there was room for it. */
  #add(id: string, kind: 'task' | 'group', name: string | null): boolean {
    const known = this.#nodes.get(id);
    if (known) {
      known.name ??= name;
      return true;
    }
    if (this.#nodes.size >= this.#limit) {
      if (this.#left.size < MOST_NODES) this.#left.add(id);
      return false;
    }
    this.#nodes.set(id, { id, kind, name, meta: null });
    this.unread.push(id);
    return true;
  }

  #join(from: string, to: string, kind: WorkflowEdge['kind']): void {
    if (from === to || !this.#nodes.has(from) || !this.#nodes.has(to)) return;
    this.#edges.set(`${from} ${to}`, this.#edges.get(`${from} ${to}`) ?? { from, to, kind });
  }

  /** Iterative along the parents: a chain may be long. */
  addTree(start: ResultTree): void {
    let after: ResultTree | null = null;
    for (let tree: ResultTree | null = start; tree !== null; tree = tree.parent) {
      if (!this.#add(tree.id, tree.members === null ? 'task' : 'group', tree.name)) return;
      for (const member of tree.members ?? []) {
        this.addTree(member);
        for (const first of firstsOf(member)) this.#join(tree.id, first, 'member');
      }
      if (after !== null) this.#join(tree.id, after.id, 'next');
      after = tree;
    }
  }

  addMeta(id: string, meta: ResultMeta): void {
    const node = this.#nodes.get(id);
    if (!node) return;
    node.meta = meta;
    node.name ??= meta.extended?.name ?? null;
    for (const child of meta.childTree ?? []) {
      const tree = treeOfChild(child);
      this.addTree(tree);
      this.#join(id, tree.id, 'next');
    }
    if (meta.parentId !== null && this.#add(meta.parentId, 'task', null)) this.#join(meta.parentId, id, 'next');
    if (meta.groupId !== null && this.#add(meta.groupId, 'group', null)) this.#groupOf.set(id, meta.groupId);
  }

  graph(): WorkflowGraph {
    const edges = this.#plainEdges();
    const before = new Map<string, string[]>();
    for (const { from, to } of edges) {
      const known = before.get(to);
      if (known) known.push(from);
      else before.set(to, [from]);
    }
    const nodes = [...this.#nodes.values()].map((node) => this.#node(node, before));
    return { nodes, edges, more: this.#left.size };
  }

  /** Without those that lead past a group: results name the task before a member, and the part before a body. */
  #plainEdges(): WorkflowEdge[] {
    const told = new Set([...this.#edges.values()].flatMap(({ from, kind }) => (kind === 'member' ? [from] : [])));
    // which of its members it begins with is known from the sender, or not at all
    for (const [id, group] of this.#groupOf) if (!told.has(group)) this.#join(group, id, 'member');
    const around = new Map<string, Set<string>>();
    const note = (id: string, group: string): void => void (around.get(id) ?? around.set(id, new Set()).get(id))?.add(group);
    for (const [id, group] of this.#groupOf) note(id, group);
    for (const { from, to, kind } of this.#edges.values()) {
      if (kind === 'member') note(to, from);
      else if (this.#nodes.get(to)?.kind === 'group') note(from, to);
    }
    /** There is a way through a group that one of its ends belongs to, or that stands behind the first. */
    const isLong = ({ from, to }: WorkflowEdge): boolean =>
      [...(around.get(from) ?? [])].some((group) => group !== to && this.#edges.has(`${group} ${to}`)) ||
      [...(around.get(to) ?? [])].some((group) => group !== from && this.#edges.has(`${from} ${group}`));
    return [...this.#edges.values()].filter((edge) => edge.kind === 'member' || !isLong(edge));
  }

  #node({ id, kind, name, meta }: Found, before: ReadonlyMap<string, readonly string[]>): WorkflowNode {
    if (kind === 'group') return { id, kind, name: null, state: null, error: null, finishedAt: null, tookMs: null };
    const state = meta?.status ?? 'PENDING';
    const failure = meta !== null && holdsException(state) ? decodeException(meta.result) : null;
    const error = failure && (failure.message === '' ? failure.type : `${failure.type}: ${failure.message}`);
    const finishedAt = meta?.dateDone ?? null;
    const startMs = finishedAt === null ? null : this.#endBefore(id, before);
    const tookMs = finishedAt === null || startMs === null ? null : Math.max(0, finishedAt.getTime() - startMs);
    return { id, kind, name, state, error, finishedAt, tookMs };
  }

  /** When the last of what stands before it ended: of a group its members, of a group's member what stands before the group. */
  #endBefore(id: string, before: ReadonlyMap<string, readonly string[]>): number | null {
    let last: number | null = null;
    for (const from of before.get(id) ?? []) {
      const node = this.#nodes.get(from);
      const endMs = node?.kind === 'group' ? this.#endAround(from, id, before) : (node?.meta?.dateDone?.getTime() ?? null);
      if (endMs !== null && (last === null || endMs > last)) last = endMs;
    }
    return last;
  }

  #endAround(groupId: string, id: string, before: ReadonlyMap<string, readonly string[]>): number | null {
    const isMember = this.#edges.get(`${groupId} ${id}`)?.kind === 'member';
    const ids = isMember
      ? (before.get(groupId) ?? [])
      : [...this.#edges.values()].filter(({ from, kind }) => from === groupId && kind === 'member').map(({ to }) => to);
    const ends = ids.flatMap((each) => this.#nodes.get(each)?.meta?.dateDone?.getTime() ?? []);
    return ends.length === 0 ? null : Math.max(...ends);
  }
}

/** Where a member of a group begins: a chain in it with its first task. */
function firstsOf(member: ResultTree): string[] {
  let first = member;
  while (first.parent !== null) first = first.parent;
  return [first.id];
}
