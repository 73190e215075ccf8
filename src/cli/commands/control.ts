/** `lovage control`: steers running workers, those in Python too. The commands are a table, `control/commands.ts`. */
import type { Command } from 'commander';
import { defineGroup } from '../command-group.js';
import { CONTROL } from '../control/commands.js';
import { defineRemote } from '../control/define.js';
import { definePause } from '../control/pauses.js';

export function defineControl(command: Command): void {
  defineGroup(command);
  defineRemote(command, CONTROL);
  const pause = command
    .command('pause_task')
    .alias('pause-task')
    .summary('keep tasks from starting on workers of Lovage, until they are resumed')
    .description(
      'Keeps tasks from starting on all workers of Lovage, those that start later too, until they are resumed. Their messages wait while others of the same queue run, and nothing counts against them.',
    );
  definePause(pause, 'task', 'pause');
  pause.addHelpText('after', '\nExample:\n  $ lovage control pause-task mails.send');
  const resume = command
    .command('resume_task')
    .alias('resume-task')
    .summary('let paused tasks start again')
    .description('Lets paused tasks start again. What waited comes back within a minute.');
  definePause(resume, 'task', 'resume');
  command.addHelpText(
    'after',
    '\nExamples:\n  $ lovage control rate_limit mails.send 10/m\n  $ lovage control pause-task mails.send\n  $ lovage control shutdown --destination w1@host\n\nChanges last until the worker ends; pauses until they are resumed. Exit code 69: nobody answered.',
  );
}
