/** `lovage control`: steers running workers, those in Python too. The commands are a table, `control/commands.ts`. */
import type { Command } from 'commander';
import { defineGroup } from '../command-group.js';
import { CONTROL } from '../control/commands.js';
import { defineRemote } from '../control/define.js';

export function defineControl(command: Command): void {
  defineGroup(command);
  defineRemote(command, CONTROL);
  command.addHelpText(
    'after',
    '\nExamples:\n  $ lovage control rate_limit mails.send 10/m\n  $ lovage control pause-task mails.send\n  $ lovage control shutdown --destination w1@host\n\nChanges last until the worker ends; pauses until they are resumed. Exit code 69: nobody answered.',
  );
}
