/** Makes commander commands of the table in `commands.ts`: flags, the run, what is printed, and the exit code. */
import { type Command, Option } from 'commander';
import type { ControlOptions } from '../../app/control/control-types.js';
import { LovageError } from '../../core/errors.js';
import { mustConfirm } from '../confirm.js';
import { appOption, type ConnectionFlags, duration, jsonObject, named, resolveConnection } from '../options.js';
import { printJson, printLine, printNote } from '../output.js';
import type { Outcome, RemoteCommand } from './commands.js';
import { withControl } from './connect.js';
import { answersObject, formatAnswers } from './output.js';

interface RemoteFlags extends ConnectionFlags {
  readonly destination?: readonly string[];
  readonly pattern?: string;
  readonly matcher?: 'glob' | 'pcre';
  readonly yes?: boolean;
}

/** Flags of all of them. */
function addRemoteOptions(command: Command): Command {
  return command
    .addOption(appOption())
    .option('--broker <url>', 'broker URL (else of the app file, else LOVAGE_BROKER_URL, else file:./.lovage/queue.db)')
    .option('-d, --destination <nodes>', 'node names, with commas between them', nodeNames)
    .option('--pattern <pattern>', 'nodes whose names match, for example "w*@host"', named)
    .addOption(new Option('--matcher <kind>', 'how the pattern is read').choices(['glob', 'pcre']).default('glob'))
    .addOption(
      new Option('-t, --timeout <duration>', 'how long to wait for answers; it ends earlier when all have answered')
        .argParser(duration)
        .default('1s'),
    )
    .option('--json', 'print JSON for machines');
}

function nodeNames(text: string): readonly string[] {
  return text.split(',').map((name) => named(name.trim()));
}

/** Who has answered, as it goes, for people at a terminal. */
function startAnswers(silent: boolean): { heard(node: string): void; end(): void } {
  const stream = process.stderr;
  if (silent || stream.isTTY !== true) return { heard() {}, end() {} };
  let count = 0;
  return {
    heard: (node) => stream.write(`\r\x1b[K${++count} answered, the last: ${node}`),
    end: () => void (count > 0 && stream.write('\r\x1b[K')),
  };
}

async function run(command: RemoteCommand, args: readonly string[], flags: RemoteFlags): Promise<void> {
  const confirmed = command.asks === undefined ? null : mustConfirm(flags, `lovage control ${command.name} ${command.asks}`);
  const connection = await resolveConnection(flags);
  const { destination, pattern, matcher, timeout } = flags;
  const whom = destination?.join(', ') ?? (pattern === undefined ? 'all workers' : `workers that match ${pattern}`);
  if (confirmed && !(await confirmed(`${command.name}, ${whom}: ${command.asks}. Go on?`))) return printNote('nothing was done');
  const answers = startAnswers(flags.json === true);
  const options: ControlOptions = {
    timeout,
    onAnswer: (node) => answers.heard(node),
    ...(destination === undefined ? {} : { destination }),
    ...(pattern === undefined ? {} : { pattern, ...(matcher === undefined ? {} : { matcher }) }),
  };
  let outcome: Outcome;
  try {
    outcome = await withControl(connection, (control) => command.run(control, args, options, flags as never));
  } finally {
    answers.end();
  }
  tell(command.name, outcome, flags, whom);
}

/** Prints what came. @throws LovageError `E_WORKER_UNREACHABLE` when nobody answered */
function tell(command: string, outcome: Outcome, { json, timeout }: RemoteFlags, whom: string): void {
  if (!('answers' in outcome)) {
    const { heardBy } = outcome;
    if (json) return printJson({ heardBy });
    return printLine(heardBy === null ? 'sent' : `heard by ${heardBy} worker${heardBy === 1 ? '' : 's'}`);
  }
  const { answers, errors, complete, heardBy, duplicates } = outcome;
  if (json) printJson(answersObject(outcome));
  else if (answers.size + errors.size > 0) printLine(formatAnswers(command, outcome));
  if (answers.size + errors.size === 0) {
    const why = heardBy === 0 ? 'no worker listens on this broker' : `no worker answered within ${timeout}: asked were ${whom}`;
    throw new LovageError('E_WORKER_UNREACHABLE', heardBy ? `${why}, and ${heardBy} listen` : why);
  }
  if (json) return;
  if (duplicates.length > 0)
    printNote(`more than one worker is called ${duplicates.join(', ')}: give each a name of its own (--name)`);
  if (!complete && heardBy !== null && heardBy > answers.size + errors.size)
    printNote(`${answers.size + errors.size} of the ${heardBy} that listen answered within ${timeout}`);
}

/** Adds all commands of a table to `lovage inspect` or `lovage control`. */
export function defineRemote(group: Command, table: readonly RemoteCommand[]): void {
  for (const remote of table) {
    const command = group
      .command(remote.name)
      .summary(remote.summary)
      .description(`${sentence(remote.summary)}`);
    const alias = remote.name.replaceAll('_', '-');
    if (alias !== remote.name) command.alias(alias);
    for (const [form, about] of remote.args ?? []) command.argument(form, about, undefined);
    for (const [form, about] of remote.flags ?? []) command.option(form, about);
    if (remote.asks !== undefined) command.option('-y, --yes', 'do not ask');
    addRemoteOptions(command);
    if (remote.example !== undefined) command.addHelpText('after', `\nExample:\n  $ ${remote.example}`);
    command.action(async (...given: unknown[]) => {
      const flags = command.opts<RemoteFlags>();
      await run(
        remote,
        given
          .slice(0, remote.args?.length ?? 0)
          .flat()
          .filter((arg) => typeof arg === 'string'),
        flags,
      );
    });
  }
  defineCall(group);
}

/** Commands that only this estate has. */
function defineCall(group: Command): void {
  const command = group
    .command('call')
    .summary('a command of your own, by its name')
    .description('Sends a command that your workers define themselves, with keyword arguments.')
    .argument('<command>', 'name of the command', named)
    .option('--args <json>', 'keyword arguments as a JSON object', jsonObject);
  addRemoteOptions(command)
    .addHelpText('after', `\nExample:\n  $ lovage ${group.name()} call increase_prefetch_count --args '{"n":2}'`)
    .action(async (name: string, flags: RemoteFlags & { readonly args?: Readonly<Record<string, unknown>> }) => {
      const remote: RemoteCommand = {
        name: 'call',
        summary: '',
        run: (control, _args, options) => control.call(name, flags.args ?? {}, options),
      };
      await run(remote, [], flags);
    });
}

const sentence = (summary: string): string => `${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`;
