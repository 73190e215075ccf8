/** Drawing a workflow: order and indentation of the table, and Mermaid that names cannot break. */
import { expect, test } from 'vitest';
import type { WorkflowEdge, WorkflowGraph, WorkflowNode } from '../app/workflows/workflow-graph.js';
import { graphLines, labelOf, mermaidOf, tookText } from './graph-drawing.js';

const task = (id: string, more: Partial<WorkflowNode> = {}): WorkflowNode => ({
  ...{ id, kind: 'task', name: id, state: 'SUCCESS', error: null, finishedAt: null, tookMs: null },
  ...more,
});
const group = (id: string): WorkflowNode => task(id, { kind: 'group', name: null, state: null });
const edge = (text: string): WorkflowEdge => {
  const [from = '', kind, to = ''] = text.split(' ');
  return { from, to, kind: kind === 'has' ? 'member' : 'next' };
};
const graphOf = (nodes: readonly WorkflowNode[], edges: readonly string[], more = 0): WorkflowGraph => ({
  ...{ nodes, edges: edges.map(edge), more },
});
const shown = (graph: WorkflowGraph): string[] =>
  graphLines(graph).map(({ node, depth }) => '  '.repeat(depth) + labelOf(node, graph));

test('a chain stands in its order, whatever was found first', () => {
  const graph = graphOf([task('c'), task('b'), task('a')], ['b -> c', 'a -> b']);
  expect(shown(graph)).toEqual(['a', 'b', 'c']);
});

test('members stand under their group, and below them what follows it', () => {
  const nodes = [task('sum'), group('g'), task('x'), task('y'), task('y2'), task('open')];
  const graph = graphOf(nodes, ['open -> g', 'g has x', 'g has y', 'y -> y2', 'g -> sum']);
  expect(shown(graph)).toEqual(['open', 'group of 2', '  x', '  y', '  y2', 'sum']);
});

test('what two tasks lead to stands there once, and a circle ends', () => {
  expect(shown(graphOf([task('a'), task('b'), task('end')], ['a -> end', 'b -> end']))).toEqual(['a', 'end', 'b']);
  expect(shown(graphOf([task('a'), task('b')], ['a -> b', 'b -> a']))).toEqual(['a', 'b']);
});

test('a chain of ten thousand steps is no trouble', () => {
  const nodes = Array.from({ length: 10_000 }, (_, index) => task(`t${index}`));
  const edges = nodes.slice(1).map((_, index) => `t${index} -> t${index + 1}`);
  expect(shown(graphOf(nodes, edges)).at(-1)).toBe('t9999');
});

test('Mermaid has every task, group and edge, and says how many are left out', () => {
  const nodes = [
    task('open', { tookMs: 40 }),
    group('g'),
    task('x', { state: 'FAILURE' }),
    task('y', { name: null, state: 'PENDING' }),
  ];
  expect(
    mermaidOf(graphOf(nodes, ['open -> g', 'g has x', 'g has y'], 7))
      .split('\n')
      .slice(0, 9),
  ).toEqual([
    'flowchart TD',
    '  n0["open<br>SUCCESS<br>40 ms"]:::SUCCESS',
    '  n1{{"group of 2"}}',
    '  n2["x<br>FAILURE"]:::FAILURE',
    '  n3["(unknown task)<br>PENDING"]',
    '  n0 --> n1',
    '  n1 -.-> n2',
    '  n1 -.-> n3',
    '  more["and 7 more"]',
  ]);
});

test('nothing in a name is read as Mermaid or as HTML', () => {
  const text = mermaidOf(graphOf([task('a', { name: 'x"]; click n0 "javascript:alert(1)" <b>`%%\n' })], []));
  const [, line] = text.split('\n');
  expect(line).toBe('  n0["x#34;#93;#59; click n0 #34;javascript:alert(1)#34; #60;b#62;#96;#37;#37;#10;<br>SUCCESS"]:::SUCCESS');
});

test('times are told in the unit that people read', () => {
  expect([null, 0, 12.4, 1_500, 119_000, 600_000].map(tookText)).toEqual(['', '0 ms', '12 ms', '1.5 s', '119.0 s', '10 min']);
});
