/** `lovage graph`: the workflow that a task belongs to. Finding it is `app/workflows/workflow-graph.ts`, drawing it `cli/graph-drawing.ts`. */
import { type Command, Option } from 'commander';
import type { WorkflowGraph } from '../../app/workflows/workflow-graph.js';
import { ResultError } from '../../core/errors.js';
import { openClient } from '../client.js';
import { graphLines, labelOf, mermaidOf, tookText } from '../graph-drawing.js';
import { addConnectionOptions, type ConnectionFlags, named, resolveConnection, wholeNumber } from '../options.js';
import { formatTable, printJson, printLine, printNote, visible } from '../output.js';

interface GraphFlags extends ConnectionFlags {
  readonly mermaid?: boolean;
  readonly limit: number;
}

function showTable(graph: WorkflowGraph): void {
  const rows = graphLines(graph).map(({ node, depth }) => [
    '  '.repeat(depth) + visible(labelOf(node, graph)),
    visible(node.state ?? ''),
    tookText(node.tookMs),
    node.finishedAt?.toISOString() ?? '',
    visible(node.id),
    visible(node.error ?? ''),
  ]);
  printLine(formatTable(['TASK', 'STATE', 'TOOK', 'ENDED', 'ID', 'ERROR'], rows, [2]));
  if (graph.more > 0) printLine(`and ${graph.more} more`);
}

async function graph(id: string, flags: GraphFlags): Promise<void> {
  const connection = await resolveConnection(flags);
  if (/^rpc:/i.test(connection.config.resultUrl)) {
    throw new ResultError(
      'E_NOT_SUPPORTED',
      'the results of an rpc: store go to the sender alone, so nobody else can find a workflow: give the workers a store that keeps them (--results redis://…)',
    );
  }
  const client = await openClient(connection, 'read');
  try {
    const found = await client.handle(id).graph({ limit: flags.limit });
    if (flags.json) printJson(found);
    else if (flags.mermaid === true) printLine(mermaidOf(found));
    else showTable(found);
    const [only, second] = found.nodes;
    if (second === undefined && (only?.state === 'PENDING' || only?.kind === 'group'))
      printNote(
        'Nothing is stored about this id: it has not ended, has expired, or is no task. Steps that have ended lead to the others; so does what handle.save() saved.',
      );
  } finally {
    await client.close();
  }
}

export function defineGraph(command: Command): void {
  addConnectionOptions(
    command
      .description(
        'Shows the workflow that a task or group belongs to, finished or running: every task that results tell of, with its state. What still waits, and names of tasks, are shown if the workflow was saved when it was sent (handle.save()).',
      )
      .argument('<id>', 'id of a task or group of it', named)
      .addOption(new Option('--mermaid', 'as a Mermaid flowchart, for pages that draw it').conflicts('json'))
      .addOption(
        new Option('--limit <number>', 'so many tasks and groups, the others are counted')
          .default(1_000)
          .argParser(wholeNumber(1)),
      ),
    { results: true },
  )
    .addHelpText(
      'after',
      '\nTOOK is the time from the end of what stands before a task to its own end, waiting included.\n\nExamples:\n  $ lovage graph 4f3c0a52-6f0e-4f2e-9c1d-0b1f6a3a7d11\n  $ lovage graph 4f3c0a52-6f0e-4f2e-9c1d-0b1f6a3a7d11 --mermaid > workflow.mmd',
    )
    .action(graph);
}
