/** `lovage queues pause | resume | paused` and `lovage control pause_task | resume_task`: one frame for both. */
import type { Command } from 'commander';
import type { PausedName, PauseReport } from '../../app/control/control-types.js';
import type { PauseChange } from '../../control/pauses.js';
import type { Duration } from '../../core/duration.js';
import { addConnectionOptions, allNamed, type ConnectionFlags, resolveConnection } from '../options.js';
import { formatTable, printJson, printLine, printNote, shorten } from '../output.js';
import { withControl } from './connect.js';

/** How long a change waits for workers to say that they know of it. */
const TOLD_WITHIN: Duration = '2s';

const METHODS = {
  queue: { pause: 'pauseQueues', resume: 'resumeQueues' },
  task: { pause: 'pauseTasks', resume: 'resumeTasks' },
} as const;

async function change({ kind, to, names }: PauseChange, flags: ConnectionFlags): Promise<void> {
  const report = await withControl(await resolveConnection(flags), (control) =>
    control[METHODS[kind][to]](names, { timeout: TOLD_WITHIN }),
  );
  if (flags.json) {
    const { answers, errors, heardBy } = report.workers;
    const unaware = [...errors.keys()];
    const changed = { [to === 'pause' ? 'paused' : 'resumed']: report.changed };
    return printJson({ ...changed, workers: Object.fromEntries(answers), unaware, heardBy });
  }
  tell({ kind, to, names }, report);
}

/** What holds now; whom it did not reach. */
function tell({ kind, to, names }: PauseChange, { changed, workers }: PauseReport): void {
  const done = to === 'pause' ? 'paused' : 'resumed';
  const already = names.filter((name) => !changed.includes(name));
  if (changed.length > 0) printLine(`${done}: ${changed.map((name) => shorten(name, 60)).join(', ')}`);
  if (already.length > 0)
    printLine(`${to === 'pause' ? 'already paused' : 'not paused'}: ${already.map((name) => shorten(name, 60)).join(', ')}`);
  if (workers.answers.size > 0) {
    const list = (of: readonly string[]): string => shorten(of.join(', '), 60) || '-';
    printLine(
      formatTable(
        ['NODE', 'PAUSED QUEUES', 'PAUSED TASKS'],
        [...workers.answers].map(([node, { queues, tasks }]) => [shorten(node, 60), list(queues), list(tasks)]),
      ),
    );
  }
  const silent = silenceOf(workers, to);
  if (silent !== null) printNote(silent);
  if (workers.errors.size === 0) return;
  const unaware = [...workers.errors.keys()].map((node) => shorten(node, 60)).join(', ');
  const instead =
    kind === 'queue' && to === 'pause' ? ', so they go on: lovage control cancel_consumer QUEUE --destination NODE' : '';
  printNote(`workers in Python know no pauses${instead} (${unaware})`);
}

/** Who has said nothing: a worker that is stopped goes on as before until it wakes, so nobody may be told that it is not there. */
function silenceOf({ answers, errors, heardBy }: PauseReport['workers'], to: PauseChange['to']): string | null {
  const told = answers.size + errors.size;
  if (heardBy !== null && heardBy > told)
    return `${told} of the ${heardBy} that listen answered within ${TOLD_WITHIN}: who did not is stopped or busy, and learns of it when it goes on`;
  if (told > 0 || to === 'resume') return null;
  return heardBy === null
    ? `no worker answered within ${TOLD_WITHIN}; those that start or go on will know`
    : 'no worker of Lovage runs; those that start will know';
}

/** `lovage queues pause | resume`, `lovage control pause_task | resume_task`. */
export function definePause(command: Command, kind: PauseChange['kind'], to: PauseChange['to']): void {
  const what = kind === 'queue' ? 'queues' : 'tasks';
  addConnectionOptions(command.argument(`<${what}...>`, `names of ${what}`, allNamed), { results: false }).action(
    (names: readonly string[], flags: ConnectionFlags) => change({ kind, to, names }, flags),
  );
}

async function paused(flags: ConnectionFlags): Promise<void> {
  const found: readonly PausedName[] = await withControl(await resolveConnection(flags), (control) => control.paused());
  if (flags.json) return printJson(found.map(({ kind, name, since }) => ({ kind, name, since: since.toISOString() })));
  if (found.length === 0) return printNote('nothing is paused');
  printLine(
    formatTable(
      ['PAUSED', 'NAME', 'SINCE'],
      found.map(({ kind, name, since }) => [kind, shorten(name, 80), since.toISOString()]),
    ),
  );
}

export function defineQueuePauses(group: Command): void {
  const pause = group
    .command('pause')
    .summary('stop workers of Lovage from consuming queues, those that start later too')
    .description(
      'Stops all workers of Lovage from consuming queues, at once and after every restart, until they are resumed. What runs ends as usual, and sending goes on.',
    );
  definePause(pause, 'queue', 'pause');
  pause.addHelpText('after', '\nExamples:\n  $ lovage queues pause slow\n  $ lovage queues paused');
  const resume = group
    .command('resume')
    .summary('let workers consume them again')
    .description('Lets workers consume paused queues again.');
  definePause(resume, 'queue', 'resume');
  resume.addHelpText('after', '\nExamples:\n  $ lovage queues resume slow');
  addConnectionOptions(
    group.command('paused').summary('what is paused').description('Shows paused queues and tasks, and since when.'),
    { results: false },
  )
    .addHelpText('after', '\nExamples:\n  $ lovage queues paused --json')
    .action(paused);
}
