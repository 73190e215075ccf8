/** `lovage dead list | show`, and the frame of `replay` and `purge`, which are in `dead-work.ts`. */
import type { Command } from 'commander';
import { type DeadLetter, type DeadLetterContent, LARGEST_PAGE } from '../../brokers/dead-letters.js';
import { BrokerError } from '../../core/errors.js';
import { decodeTaskBody, upgradeProtocol1 } from '../../wire/task-message.js';
import { defineGroup } from '../command-group.js';
import {
  addFilterOptions,
  ageText,
  countsText,
  type FilterFlags,
  filterOf,
  letters as lettersText,
  sizeText,
} from '../dead-filter.js';
import { UsageError } from '../exit-codes.js';
import { addConnectionOptions, type ConnectionFlags, named, resolveConnection, wholeNumber, withBroker } from '../options.js';
import { formatTable, printJson, printLine, printNote, shorten, visible } from '../output.js';
import { defineDeadPurge, defineDeadReplay } from './dead-work.js';

const isoTime = (ms: number): string => new Date(ms).toISOString();

/** A letter for machines. */
function describe({ parkedAtMs, history, ...rest }: DeadLetter): Record<string, unknown> {
  const { unknownSinceMs, ...known } = history;
  return {
    ...rest,
    parkedAt: isoTime(parkedAtMs),
    history: { ...known, unknownSince: unknownSinceMs === null ? null : isoTime(unknownSinceMs) },
  };
}

async function list(flags: ConnectionFlags & FilterFlags & { readonly limit: number }): Promise<void> {
  const nowMs = Date.now();
  const filter = filterOf(flags, nowMs);
  await withBroker(await resolveConnection(flags), async ({ deadLetters }) => {
    const totals = await deadLetters.totals(filter);
    const shown: DeadLetter[] = [];
    for (let cursor: string | null = null; shown.length < flags.limit && totals.count > 0; ) {
      const page = await deadLetters.list({ filter, cursor, limit: Math.min(flags.limit - shown.length, LARGEST_PAGE) });
      shown.push(...page.letters);
      cursor = page.next;
      if (cursor === null) break;
    }
    const { count, bytes, oldestMs } = totals;
    if (flags.json) {
      const oldest = oldestMs === null ? null : isoTime(oldestMs);
      const codes = Object.fromEntries(totals.codes);
      return printJson({ count, bytes, oldest, queues: Object.fromEntries(totals.queues), codes, letters: shown.map(describe) });
    }
    if (count === 0) return printNote('no dead letters');
    const newest = count > shown.length ? `; the ${shown.length} newest (--limit shows more)` : '';
    printNote(`${lettersText(count)}, ${sizeText(bytes)}, the oldest ${ageText(nowMs - (oldestMs ?? nowMs))} old${newest}`);
    printNote(`${countsText(totals.codes)}; in ${countsText(totals.queues)}`);
    printLine(
      formatTable(
        ['ID', 'AGE', 'QUEUE', 'CODE', 'TASK', 'TASK ID', 'REASON'],
        shown.map((letter) => [
          shorten(letter.id, 40),
          ageText(nowMs - letter.parkedAtMs),
          shorten(letter.queue, 30),
          letter.code,
          letter.task === null ? '(no message)' : shorten(letter.task, 40),
          shorten(letter.taskId ?? '', 36),
          shorten(letter.reason, 70),
        ]),
        [1],
      ),
    );
  });
}

/** What the message asks for, as far as it can be read. */
function contentOf({ message }: DeadLetterContent): Record<string, unknown> {
  if (message === null) return { headers: null };
  const { headers, properties } = message;
  try {
    const { args, kwargs } = decodeTaskBody(headers['task'] === undefined ? upgradeProtocol1(message) : message);
    return { headers, properties, args, kwargs };
  } catch (error) {
    return { headers, properties, undecodable: (error as Error).message };
  }
}

const SHOWN_BYTES = 1_024;

/** Everything that is known, a line each; the history only where there is one. */
function rowsOf(content: DeadLetterContent): [string, string][] {
  const { letter, raw } = content;
  const { leasesLost, executorsLost, retries, redelivered, unknownSinceMs, parkedBy } = letter.history;
  const rows: [string, string][] = [
    ['id', letter.id],
    ['parked', `${isoTime(letter.parkedAtMs)}${parkedBy === null ? '' : ` by ${parkedBy}`}`],
    ['queue', letter.queue],
    ['code', letter.code],
    ['reason', letter.reason],
    ['task', letter.task ?? '(no message)'],
    ['task id', letter.taskId ?? ''],
    ['size', sizeText(letter.size)],
  ];
  if (leasesLost > 0) rows.push(['losses', `${leasesLost} with the worker that held it (its lease ended)`]);
  if (executorsLost > 0) rows.push(['losses', `${executorsLost} with a thread or child process of a living worker`]);
  if (retries > 0) rows.push(['retries', String(retries)]);
  if (redelivered) rows.push(['delivered', 'more than once']);
  if (unknownSinceMs !== null) rows.push(['unknown', `since ${isoTime(unknownSinceMs)} no worker knew its task`]);
  const shown = contentOf(content);
  for (const name of ['args', 'kwargs', 'headers', 'properties', 'undecodable']) {
    if (shown[name] === undefined || shown[name] === null) continue;
    rows.push([name, typeof shown[name] === 'string' ? shown[name] : JSON.stringify(shown[name], bigintText)]);
  }
  if (shown['args'] === undefined) {
    const bytes = Buffer.from(raw.subarray(0, SHOWN_BYTES)).toString('latin1');
    rows.push(['bytes', raw.length > SHOWN_BYTES ? `${bytes}… (--raw writes all of them)` : bytes]);
  }
  return rows;
}

const bigintText = (_: string, value: unknown): unknown => (typeof value === 'bigint' ? String(value) : value);

async function show(id: string, flags: ConnectionFlags & { readonly raw?: boolean }): Promise<void> {
  if (flags.raw && flags.json) throw new UsageError('--raw writes bytes and --json writes JSON: give one of them');
  const content = await withBroker(await resolveConnection(flags), ({ deadLetters }) => deadLetters.get(id));
  if (content === null) {
    throw new BrokerError(
      'E_DEAD_LETTER_MISSING',
      `there is no dead letter ${shorten(id, 60)} on this broker: "lovage dead list" shows those that are there`,
    );
  }
  if (flags.raw) return void process.stdout.write(content.raw);
  if (flags.json)
    return printJson({ ...describe(content.letter), ...contentOf(content), raw: Buffer.from(content.raw).toString('base64') });
  for (const [name, text] of rowsOf(content)) printLine(`${name.padEnd(11)} ${visible(text)}`);
}

export function defineDead(command: Command): void {
  defineGroup(command);
  addConnectionOptions(
    addFilterOptions(
      command
        .command('list')
        .summary('messages that could not run, newest first')
        .description(
          'Shows dead letters: messages that were parked because they could not run, newest first, and how many there are.',
        ),
    ).option('--limit <n>', 'how many', wholeNumber(1), 50),
    { results: false },
  )
    .addHelpText(
      'after',
      "\nExamples:\n  $ lovage dead list\n  $ lovage dead list --queue slow --code E_WORKER_LOST --newer-than 1d\n  $ lovage dead list --json | jq -r '.letters[].id'",
    )
    .action(list);
  addConnectionOptions(
    command
      .command('show')
      .summary('one dead letter with all that is known of it')
      .description('Shows one dead letter: why and by whom it was parked, its history, its headers and arguments, or its bytes.')
      .argument('<id>', 'id of the dead letter', named)
      .option('--raw', 'write its bytes as they are, and nothing else'),
    { results: false },
  )
    .addHelpText('after', '\nExamples:\n  $ lovage dead show 17\n  $ lovage dead show 17 --raw > letter.bin')
    .action(show);
  defineDeadReplay(command.command('replay'));
  defineDeadPurge(command.command('purge'));
}
