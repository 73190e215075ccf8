/** A workflow's graph for people: an indented table, and Mermaid for pages that draw it. Pure. */
import type { WorkflowGraph, WorkflowNode } from '../app/workflows/workflow-graph.js';

/** A line of the table, and how many groups it stands in. */
export interface GraphLine {
  readonly node: WorkflowNode;
  readonly depth: number;
}

/** Everything once: what stands before something above it, members of a group below it and indented. */
export function graphLines({ nodes, edges }: WorkflowGraph): GraphLine[] {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const after = new Map<string, { readonly to: string; readonly isMember: boolean }[]>();
  const hasBefore = new Set<string>();
  for (const { from, to, kind } of edges) {
    const known = after.get(from);
    const entry = { to, isMember: kind === 'member' };
    if (known) known.push(entry);
    else after.set(from, [entry]);
    hasBefore.add(to);
  }
  const lines: GraphLine[] = [];
  const seen = new Set<string>();
  // a stack of our own: chains may be longer than calls can be deep
  const visit = (root: string): void => {
    const waiting = [{ id: root, depth: 0 }];
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const { id, depth } = next;
      const node = byId.get(id);
      if (node === undefined || seen.has(id)) continue;
      seen.add(id);
      lines.push({ node, depth });
      const following = after.get(id) ?? [];
      // what is put there last comes first: members before what follows their group
      for (const { to } of following.filter(({ isMember }) => !isMember).reverse()) waiting.push({ id: to, depth });
      for (const { to } of following.filter(({ isMember }) => isMember).reverse()) waiting.push({ id: to, depth: depth + 1 });
    }
  };
  for (const { id } of nodes) if (!hasBefore.has(id)) visit(id);
  // results that name each other in a circle have no first
  for (const { id } of nodes) visit(id);
  return lines;
}

/** What a task or group is called. */
export function labelOf({ id, kind, name }: WorkflowNode, { edges }: WorkflowGraph): string {
  if (kind === 'task') return name ?? '(unknown task)';
  const members = edges.filter((edge) => edge.from === id && edge.kind === 'member').length;
  return members === 0 ? 'group' : `group of ${members}`;
}

/** `1.5 s`; nothing where it is not known. */
export function tookText(tookMs: number | null): string {
  if (tookMs === null) return '';
  if (tookMs < 1_000) return `${Math.round(tookMs)} ms`;
  return tookMs < 120_000 ? `${(tookMs / 1_000).toFixed(1)} s` : `${Math.round(tookMs / 60_000)} min`;
}

const CLASSES = {
  SUCCESS: 'fill:#d7f0d7,stroke:#3a7d3a,color:#123',
  FAILURE: 'fill:#f6d5d5,stroke:#a33,color:#123',
  REVOKED: 'fill:#eee0c8,stroke:#8a6a2a,color:#123',
  RUNNING: 'fill:#d6e4f7,stroke:#36c,color:#123',
} as const;

/** As a Mermaid flowchart. */
export function mermaidOf(graph: WorkflowGraph): string {
  const names = new Map(graph.nodes.map(({ id }, index) => [id, `n${index}`]));
  const lines = ['flowchart TD'];
  for (const node of graph.nodes) {
    const name = names.get(node.id);
    if (node.kind === 'group') {
      lines.push(`  ${name}{{"${escaped(labelOf(node, graph))}"}}`);
      continue;
    }
    const parts = [labelOf(node, graph), node.state ?? '', tookText(node.tookMs)].filter((part) => part !== '');
    const state = classOf(node.state);
    lines.push(`  ${name}["${parts.map(escaped).join('<br>')}"]${state === null ? '' : `:::${state}`}`);
  }
  for (const { from, to, kind } of graph.edges)
    lines.push(`  ${names.get(from)} ${kind === 'member' ? '-.->' : '-->'} ${names.get(to)}`);
  if (graph.more > 0) lines.push(`  more["and ${graph.more} more"]`);
  for (const [state, style] of Object.entries(CLASSES)) lines.push(`  classDef ${state} ${style}`);
  return lines.join('\n');
}

function classOf(state: string | null): keyof typeof CLASSES | null {
  if (state === null || state === 'PENDING') return null;
  return state === 'SUCCESS' || state === 'FAILURE' || state === 'REVOKED' ? state : 'RUNNING';
}

/** Names come from messages: nothing of them may be read as Mermaid or as HTML. */
const escaped = (text: string): string =>
  text.replace(/[^\p{L}\p{N} ._:/()-]/gu, (char) => `#${char.codePointAt(0) ?? 0};`).slice(0, 2_000);
