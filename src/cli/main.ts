#!/usr/bin/env node
/** The `lovage` command: parses, runs one command, and turns every end into a documented exit code. Next stop: `program.ts`. */
import { CommanderError } from 'commander';
import { exitCodeOf } from './exit-codes.js';
import { printError } from './output.js';
import { createProgram } from './program.js';

// `lovage queues list | head -1` closes our output early: that is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

const words = process.argv.slice(2);
try {
  const program = await createProgram(words[0] === 'help' ? words[1] : words[0]);
  await program.parseAsync(process.argv);
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : 2;
  } else {
    printError(error, words.includes('--json'));
    process.exitCode = exitCodeOf(error);
  }
}
