/** `lovage result`: what the result store knows of a task, or its result once it is there. */
import { type Command, Option } from 'commander';
import type { TaskStatus } from '../../app/task-handle.js';
import type { Duration } from '../../core/duration.js';
import { ResultError } from '../../core/errors.js';
import { encodeJson } from '../../wire/serializers/json.js';
import { openClient } from '../client.js';
import { addConnectionOptions, type ConnectionFlags, duration, named, resolveConnection } from '../options.js';
import { printJson, printLine, visible } from '../output.js';

/** A result as JSON, over several lines where that is easier to read. What JSON has no form for is tagged as on the wire. */
export function printValue(value: unknown): void {
  const text = encodeJson(value ?? null);
  const shown =
    text.length <= 80 || text.includes('"__type__"') || /[^"\w](NaN|Infinity)|\d{16}/.test(text)
      ? text
      : JSON.stringify(JSON.parse(text), null, 2);
  printLine(visible(shown));
}

function showStatus({ id, state, result, info, error, traceback, finishedAt, children }: TaskStatus): void {
  const rows: [string, string][] = [
    ['id', id],
    ['state', state === 'PENDING' ? 'PENDING (not finished, expired, or no such task)' : state],
  ];
  if (state === 'SUCCESS') rows.push(['result', encodeJson(result ?? null)]);
  if (info !== null && info !== undefined) rows.push(['info', encodeJson(info)]);
  if (error !== null) rows.push(['error', `${error.type}: ${error.message}`]);
  if (finishedAt !== null) rows.push(['finished', finishedAt.toISOString()]);
  if (children.length > 0) rows.push(['sent', children.join(' ')]);
  // Not in the table: a traceback has lines of its own.
  for (const [name, text] of rows) printLine(`${name.padEnd(9)} ${visible(text)}`);
  if (traceback !== null && traceback !== '') printLine(visible(traceback.trimEnd()));
}

async function result(id: string, flags: ConnectionFlags & { readonly wait?: Duration }): Promise<void> {
  const connection = await resolveConnection(flags);
  if (/^rpc:/i.test(connection.config.resultUrl)) {
    throw new ResultError(
      'E_NOT_SUPPORTED',
      'the results of an rpc: store go to the sender alone: wait where you send (lovage send … --wait 10s), or give the workers a store that keeps them (--results redis://…)',
    );
  }
  const client = await openClient(connection, 'read');
  try {
    const handle = client.handle(id);
    if (flags.wait === undefined) {
      const status = await handle.status();
      return flags.json ? printJson(status) : showStatus(status);
    }
    const value = await handle.result({ timeout: flags.wait });
    if (flags.json) printJson({ id, state: 'SUCCESS', result: value });
    else printValue(value);
  } finally {
    await client.close();
  }
}

export function defineResult(command: Command): void {
  addConnectionOptions(
    command
      .description(
        'Shows what is stored about a task. With --wait it waits for the end and prints the result alone; a failed task then exits 1.',
      )
      .argument('<id>', 'id of the task', named)
      .addOption(new Option('--wait <duration>', 'wait so long for the result').argParser(duration)),
    { results: true },
  )
    .addHelpText(
      'after',
      '\nExamples:\n  $ lovage result 4f3c0a52-6f0e-4f2e-9c1d-0b1f6a3a7d11\n  $ lovage result 4f3c0a52-6f0e-4f2e-9c1d-0b1f6a3a7d11 --wait 30s --json',
    )
    .action(result);
}
