/** `lovage send`: one task by its name, no app file needed; or a whole file of tasks (`send-file.ts`). */
import type { Command } from 'commander';
import { InvalidArgumentError, Option } from 'commander';
import type { CallOptions } from '../../app/call-options.js';
import type { Duration } from '../../core/duration.js';
import { openClient } from '../client.js';
import { UsageError } from '../exit-codes.js';
import {
  addConnectionOptions,
  type ConnectionFlags,
  duration,
  instant,
  jsonArray,
  jsonObject,
  resolveConnection,
  wholeNumber,
} from '../options.js';
import { printJson, printLine } from '../output.js';
import { printValue } from './result.js';

interface SendFlags extends ConnectionFlags {
  readonly args?: readonly unknown[];
  readonly kwargs?: Readonly<Record<string, unknown>>;
  readonly queue?: string;
  readonly countdown?: Duration;
  readonly eta?: Date;
  readonly expires?: Duration | Date;
  readonly priority?: number;
  readonly id?: string;
  readonly header?: Readonly<Record<string, string>>;
  readonly ignoreResult?: boolean;
  readonly dedupe?: string;
  readonly dedupeFor?: Duration;
  readonly wait?: Duration;
  readonly file?: string;
  readonly dryRun?: boolean;
  readonly fromLine?: number;
}

/** Flags of one task; a file brings its own. */
const ONE_TASK = [
  'args',
  'kwargs',
  'queue',
  'countdown',
  'eta',
  'expires',
  'priority',
  'id',
  'header',
  'ignoreResult',
  'dedupe',
  'dedupeFor',
  'wait',
] as const;

function priority(text: string): number {
  if (/^[0-9]$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a whole number from 0 (last) to 9 (soonest).');
}

function header(text: string, before: Readonly<Record<string, string>> = {}): Readonly<Record<string, string>> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError("It must be name=value, for example 'tenant=acme'.");
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}

function expiry(text: string): Duration | Date {
  return /^[\d.]+[a-z]+$/i.test(text) ? duration(text) : instant(text);
}

async function sendOne(task: string, flags: SendFlags): Promise<void> {
  const { id, queue, countdown, eta, expires, priority, header: headers, ignoreResult, dedupe: key, dedupeFor } = flags;
  if ((key === undefined) !== (dedupeFor === undefined)) throw new UsageError('--dedupe and --dedupe-for belong together');
  const dedupe = key !== undefined && dedupeFor !== undefined ? { key, for: dedupeFor } : undefined;
  const given = { id, queue, countdown, eta, expires, priority, headers, ignoreResult, dedupe };
  const options = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as CallOptions;
  const client = await openClient(
    await resolveConnection(flags, { app: true }),
    flags.wait === undefined ? 'send' : 'send-and-wait',
  );
  try {
    const call = { task, args: flags.args ?? [], kwargs: flags.kwargs ?? {}, options };
    const sent = await client.send(client.prepare(call), call);
    const answer = { id: sent.id, ...(dedupe && { deduplicated: sent.deduplicated }) };
    if (flags.wait === undefined) return flags.json ? printJson(answer) : printLine(sent.id);
    const result = await sent.result({ timeout: flags.wait });
    if (flags.json) printJson({ ...answer, state: 'SUCCESS', result });
    else printValue(result);
  } finally {
    await client.close();
  }
}

async function send(task: string | undefined, flags: SendFlags): Promise<void> {
  const { file, dryRun, fromLine } = flags;
  if (file === undefined) {
    if (task === undefined)
      throw new UsageError(
        "lovage send needs the name of a task, for example lovage send math.add --args '[2,3]', or --file tasks.jsonl",
      );
    if (dryRun || fromLine !== undefined) throw new UsageError('--dry-run and --from-line belong to --file');
    return sendOne(task, flags);
  }
  if (task !== undefined)
    throw new UsageError('give the name of a task or --file, not both: a file names the task in every line');
  const stray = ONE_TASK.find((name) => flags[name] !== undefined);
  if (stray !== undefined)
    throw new UsageError(
      `--${stray.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)} belongs to a single task; in a file every line brings its own`,
    );
  const { sendFile } = await import('./send-file.js');
  return sendFile({ ...flags, file, fromLine: fromLine ?? 1 });
}

export function defineSend(command: Command): void {
  command
    .description(
      'Sends a task by its name and prints its id; with --wait its result. Needs no app file: tasks may live anywhere, in Python too.',
    )
    .argument('[task]', 'name of the task, for example math.add')
    .addOption(new Option('--args <json>', "positional arguments, a JSON array: '[2,3]'").argParser(jsonArray))
    .addOption(
      new Option('--kwargs <json>', 'keyword arguments, a JSON object; the input of an object task').argParser(jsonObject),
    )
    .addOption(new Option('--wait <duration>', 'wait so long for the result and print it').argParser(duration))
    .option('--queue <name>', "queue (default: of the app file's task or route, else lovage)")
    .addOption(new Option('--countdown <duration>', 'run no sooner than this from now').argParser(duration).conflicts('eta'))
    .addOption(new Option('--eta <time>', 'run no sooner than this (ISO 8601 with zone)').argParser(instant))
    .addOption(new Option('--expires <time>', 'do not run later than this: a duration or ISO 8601').argParser(expiry))
    .addOption(new Option('--priority <n>', '0 to 9, higher is sooner on every broker').argParser(priority))
    .option('--id <id>', 'the id to use; repeating a send with the same id is safe')
    .addOption(
      new Option('--header <name=value>', 'header that the task finds in ctx.headers; may be given several times').argParser(
        header,
      ),
    )
    .option('--ignore-result', 'store no result')
    .option('--dedupe <key>', 'send nothing if the task was sent with this key lately; the id is that of the first then')
    .addOption(new Option('--dedupe-for <duration>', 'how long the key of --dedupe holds, 1s to 30d').argParser(duration))
    .option('--file <jsonl>', 'send a file: one {"task":…,"args":[…],"kwargs":{…},"options":{…}} a line')
    .option('--dry-run', 'with --file: check every line, send nothing')
    .addOption(new Option('--from-line <n>', 'with --file: begin at this line').argParser(wholeNumber(1)));
  addConnectionOptions(command, { results: true })
    .addHelpText(
      'after',
      `
A file is checked before anything is sent: if a line is bad, all bad lines are reported with their numbers, nothing is
sent and the exit code is 65.

Examples:
  $ lovage send math.add --args '[2,3]' --wait 10s
  $ lovage send invoices.sync --kwargs '{"invoiceId":"42"}' --queue slow --countdown 5m --priority 7
  $ lovage send proj.tasks.add --args '[1,2]' --queue celery --broker redis://localhost:6379/0
  $ lovage send --file tasks.jsonl --dry-run`,
    )
    .action(send);
}
