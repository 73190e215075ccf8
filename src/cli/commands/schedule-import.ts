/**
 * `lovage schedule import`: entries of Celery's beat out of a JSON file or out of django-celery-beat's tables. What becomes of them is
 * `beat/schedules/celery-import.ts` and `django-import.ts`; here is what people read of it.
 */
import { readFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import { readDjangoTables } from '../../beat/django-tables.js';
import { addEntries, additionOf, type NewEntry } from '../../beat/entries.js';
import { importDjangoBeat } from '../../beat/schedules/django-import.js';
import { importCeleryBeat } from '../../beat/schedules/index.js';
import { durationMs } from '../../core/duration.js';
import { ConfigError, codeOf, toError, WireError } from '../../core/errors.js';
import { addConnectionOptions, type Connection, type ConnectionFlags } from '../options.js';
import { printJson, printLine, printNote, visible } from '../output.js';
import { signatureOf, withSchedules } from '../with-schedules.js';

interface ImportFlags extends ConnectionFlags {
  readonly timezone?: string;
  readonly priorities: '9-first' | '0-first';
  readonly dryRun?: boolean;
}

/** A row of a table, by its number; a JSON file has none. */
interface Source {
  readonly row?: number;
  readonly id: string;
}

/** What is to be imported, from wherever it comes. */
interface Found {
  readonly entries: readonly (Source & {
    readonly task: string;
    readonly notes: readonly string[];
    make(connection: Connection): Omit<NewEntry, 'id'>;
  })[];
  readonly over: readonly (Source & { readonly reason: string })[];
  readonly refused: readonly (Source & { readonly error: Error })[];
}

async function fromFile(file: string, options: Parameters<typeof importCeleryBeat>[1]): Promise<Found> {
  let json: unknown;
  try {
    json = JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    throw new WireError('E_DECODE', `${file} is no JSON that can be read: ${toError(error).message}`);
  }
  const { entries, refused } = importCeleryBeat(json, options);
  return {
    entries: entries.map(({ name, task, args, kwargs, options: schedule, notes }) => ({
      ...{ id: name, task, notes },
      make: (connection) => ({ options: schedule, signature: signatureOf(connection, task, args, kwargs) }),
    })),
    over: [],
    refused: refused.map(({ name, error }) => ({ id: name, error })),
  };
}

async function fromTables(url: string, options: Parameters<typeof importDjangoBeat>[1], timeoutMs: number): Promise<Found> {
  const { entries, over, refused } = importDjangoBeat(await readDjangoTables(url, timeoutMs), options);
  return {
    entries: entries.map(({ row, id, task, args, kwargs, to, notes, options: schedule, ...rest }) => ({
      ...{ row, id, task, notes },
      make: (connection) => {
        const signature = signatureOf(connection, task, args, kwargs);
        const past = to === null ? signature.options : { exchange: to.exchange, routing_key: to.routingKey };
        return { ...rest, options: schedule, signature: { ...signature, options: past } };
      },
    })),
    ...{ over, refused },
  };
}

const which = ({ row, id }: Source): string => `${row === undefined ? '' : `row ${row}  `}${visible(id)}`;

/** Checked one by one: an entry that cannot be added is refused, and holds up no other. */
function checked({ entries, refused, ...rest }: Found, connection: Connection, nowMs: number) {
  const good: (Omit<Found['entries'][number], 'make'> & { readonly made: NewEntry })[] = [];
  const bad = [...refused];
  for (const { make, ...entry } of entries) {
    try {
      const made = { id: entry.id, ...make(connection) };
      additionOf(made, nowMs);
      good.push({ ...entry, made });
    } catch (error) {
      if (codeOf(error) === undefined) throw error;
      bad.push({ ...(entry.row !== undefined && { row: entry.row }), id: entry.id, error: toError(error) });
    }
  }
  return { entries: good, refused: bad, ...rest };
}

async function run(source: string, flags: ImportFlags): Promise<void> {
  const { timezone, priorities, dryRun = false } = flags;
  const nowMs = Date.now();
  const options = { priorities, ...(timezone === undefined ? {} : { timezone }) };
  const found = /^postgres(?:ql)?:/i.test(source)
    ? await fromTables(source, { ...options, nowMs }, durationMs(flags.timeout, '--timeout'))
    : await fromFile(source, options);
  await withSchedules(flags, async (store, connection) => {
    const { entries, over, refused } = checked(found, connection, nowMs);
    const there = dryRun
      ? (await store.load()).entries.map(({ id }) => id)
      : await addEntries(
          store,
          entries.map(({ made }) => made),
          nowMs,
        );
    const taken = new Set(there);
    const done = dryRun ? 'would be added' : 'added';
    if (flags.json) {
      printJson({
        entries: entries.map(({ made, ...entry }) => ({
          ...entry,
          paused: made.paused === true,
          outcome: taken.has(entry.id) ? 'there already' : done,
        })),
        over,
        refused: refused.map(({ error, ...entry }) => ({ ...entry, code: codeOf(error), message: error.message })),
      });
    } else {
      for (const entry of entries) {
        const state = entry.made.paused === true ? ', paused' : '';
        printLine(`${which(entry)}  ${taken.has(entry.id) ? 'there already, left as it is' : `${done}${state}`}`);
        for (const note of entry.notes) printNote(`  ${visible(note)}`);
      }
      for (const entry of over) printNote(`${which(entry)}  left out: ${visible(entry.reason)}`);
      for (const entry of refused) printNote(`${which(entry)}  refused: ${visible(entry.error.message)}`);
    }
    if (refused.length === 0) return;
    const all = refused.length + over.length + entries.length;
    throw new ConfigError('E_SCHEDULE', `${refused.length} of ${all} entries were not taken over`);
  });
}

export function defineScheduleImport(command: Command): void {
  addConnectionOptions(
    command
      .command('import')
      .description(
        "Adds the entries of Celery's beat: of the beat_schedule setting, written down as JSON, or of django-celery-beat's tables. What is there already stays as it is.",
      )
      .argument(
        '<source>',
        'JSON file, or postgresql:// URL of the database with the tables (?schema= if they are not in the search path)',
      )
      .option('--timezone <zone>', "Celery's timezone setting (default: UTC)")
      .addOption(
        new Option('--priorities <sense>', 'what priorities mean there: 9-first on RabbitMQ, 0-first on Redis')
          .choices(['9-first', '0-first'])
          .default('9-first'),
      )
      .option('--dry-run', 'only say what would be added'),
    { results: true },
  )
    .addHelpText(
      'after',
      `
Stop Celery's beat before you import for good: it writes down its last runs when it ends, and two that send, send twice.

Examples:
  $ lovage schedule import beat_schedule.json --timezone Europe/Berlin
  $ lovage schedule import postgresql://django@db.internal/shop --dry-run`,
    )
    .action(run);
}
