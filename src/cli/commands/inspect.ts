/** `lovage inspect`: asks running workers, those in Python too. The questions are a table, `control/commands.ts`. */
import type { Command } from 'commander';
import { defineGroup } from '../command-group.js';
import { INSPECT } from '../control/commands.js';
import { defineRemote } from '../control/define.js';

export function defineInspect(command: Command): void {
  defineGroup(command);
  defineRemote(command, INSPECT);
  command.addHelpText(
    'after',
    '\nExamples:\n  $ lovage inspect ping\n  $ lovage inspect active --destination w1@host --json\n  $ lovage inspect stats --broker redis://localhost:6379/0\n\nExit code 69: nobody answered.',
  );
}
