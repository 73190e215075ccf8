/** Builds the commander program. Only the called command is loaded; help and completion load what they show. */
import { Command } from 'commander';
import { packageVersion } from '../core/version.js';
import { COMMANDS } from './commands/table.js';
import { EXIT_CODES } from './exit-codes.js';

function exitCodeHelp(): string {
  return Object.entries(EXIT_CODES)
    .map(([code, meaning]) => `  ${code.padStart(2)}  ${meaning}`)
    .join('\n');
}

/** @param load the name of the command to load, or `'*'` for all (documentation, completion) */
export async function createProgram(load: string | undefined): Promise<Command> {
  const program = new Command('lovage')
    .description('The task queue for TypeScript that speaks Celery.')
    .version(packageVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show help')
    .helpCommand('help [command]', 'show the help of a command')
    .configureHelp({ showGlobalOptions: false, sortOptions: false })
    .showHelpAfterError(false)
    .showSuggestionAfterError(true)
    .exitOverride()
    .addHelpText(
      'after',
      `
Environment:
  LOVAGE_APP                            stands for --app
  LOVAGE_BROKER_URL, LOVAGE_RESULT_URL  are used where neither a flag nor the app file names a URL
  lovage.config.ts (or .js, .mjs)       in the current folder may export "config" with app, broker and results,
                                        which stand for the flags

Exit codes:
${exitCodeHelp()}

Start here:
  $ lovage worker --app ./tasks.ts
  $ lovage send math.add --args '[2,3]' --wait 10s`,
    );
  for (const entry of COMMANDS) {
    const command = program.command(entry.name).summary(entry.summary).description(entry.summary);
    if (load === entry.name || load === '*') (await entry.load())(command);
  }
  return program;
}
