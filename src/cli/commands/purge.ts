/** `lovage purge`: removes what waits, after asking. */
import type { Command } from 'commander';
import { mustConfirm } from '../confirm.js';
import { addConnectionOptions, allNamed, type ConnectionFlags, resolveConnection, withBroker } from '../options.js';
import { printJson, printLine, printNote, startProgress } from '../output.js';

async function purge(queues: readonly string[], flags: ConnectionFlags & { readonly yes?: boolean }): Promise<void> {
  const confirmed = mustConfirm(flags, 'lovage purge removes messages for good');
  await withBroker(await resolveConnection(flags), async (broker) => {
    const before = await broker.depth(queues);
    const waiting = before.map(({ ready, delayed }) => ready + (delayed ?? 0));
    const total = waiting.reduce((sum, count) => sum + count, 0);
    const what = before.map(({ queue }, index) => `${queue} (${waiting[index]})`).join(', ');
    if (!(await confirmed(`Remove ${total} waiting messages from ${what}?`))) return printNote('nothing was removed');
    const removed: Record<string, number> = {};
    const progress = startProgress('purging', total, { silent: flags.json === true });
    let done = 0;
    try {
      for (const queue of queues) {
        const count = await broker.purge(queue, (running) => progress.update(done + running));
        removed[queue] = count;
        done += count;
      }
    } finally {
      progress.end();
    }
    if (flags.json) return printJson({ removed });
    for (const [queue, count] of Object.entries(removed)) printLine(`${queue}: ${count} removed`);
  });
}

export function definePurge(command: Command): void {
  addConnectionOptions(
    command
      .description('Removes everything that waits in the queues, ready and delayed. What workers hold already is not touched.')
      .argument('<queues...>', 'the queues to empty', allNamed)
      .option('-y, --yes', 'do not ask'),
    { results: false },
  )
    .addHelpText('after', '\nExamples:\n  $ lovage purge slow\n  $ lovage purge celery slow --yes --json')
    .action(purge);
}
