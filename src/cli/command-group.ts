/** Commands that only have commands under them (`queues`, `dead`): called without one, or with a wrong one, they say which there are. */
import type { Command } from 'commander';
import { nearest } from '../app/config-schema.js';
import { UsageError } from './exit-codes.js';

export function defineGroup(command: Command): void {
  command.allowExcessArguments().action(() => {
    const path = `lovage ${command.name()}`;
    const names = command.commands.map((sub) => sub.name());
    const [word] = command.args;
    if (word === undefined) throw new UsageError(`${path} needs one of: ${names.join(', ')} (${path} --help)`);
    const guess = nearest(word, names);
    throw new UsageError(
      `${path} has no command ${JSON.stringify(word)}${guess === null ? '' : ` (did you mean ${guess}?)`}: it has ${names.join(', ')}`,
    );
  });
}
