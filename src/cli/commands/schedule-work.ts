/** `lovage schedule add | edit | pause | resume | run | remove | import`. What they do is `beat/entries.ts`. */
import { readFile } from 'node:fs/promises';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { addEntries, editEntry, type NewEntry, removeEntry, requestRun, setPaused } from '../../beat/entries.js';
import { importCeleryBeat, type ScheduleOptions } from '../../beat/schedules/index.js';
import { destinationOf } from '../../canvas/routes.js';
import type { Duration } from '../../core/duration.js';
import { ConfigError, toError, WireError } from '../../core/errors.js';
import { makeSignature, type WireSignature } from '../../wire/signature.js';
import { UsageError } from '../exit-codes.js';
import {
  addConnectionOptions,
  allNamed,
  type Connection,
  type ConnectionFlags,
  duration,
  instant,
  jsonArray,
  jsonObject,
  named,
  wholeNumber,
} from '../options.js';
import { printJson, printLine, printNote, visible } from '../output.js';
import { withSchedules } from '../with-schedules.js';

interface EntryFlags extends ConnectionFlags {
  readonly cron?: string;
  readonly every?: Duration;
  readonly at?: Date;
  readonly solar?: ScheduleOptions['solar'];
  readonly timezone?: string;
  readonly jitter?: Duration;
  readonly start?: Date;
  readonly end?: Date;
  readonly expires?: Duration;
  readonly priority?: number;
  readonly queue?: string;
  readonly catchUp?: string;
  readonly overlap?: string;
  readonly task?: string;
  readonly args?: readonly unknown[];
  readonly kwargs?: Readonly<Record<string, unknown>>;
}

const KINDS = ['cron', 'every', 'at', 'solar'] as const;
const OTHERS = ['timezone', 'jitter', 'start', 'end', 'expires', 'priority', 'queue', 'catchUp', 'overlap'] as const;
/** Options that go with one kind alone, and so go away with it. */
const OF_KIND = ['timezone', 'dst', 'anchor'] as const;

/** `sunset,52.52,13.40` */
function solar(text: string): { readonly event: string; readonly lat: number; readonly lon: number } {
  const [event = '', lat, lon, more] = text.split(',').map((part) => part.trim());
  if (!lat || !lon || more !== undefined || Number.isNaN(Number(lat)) || Number.isNaN(Number(lon)))
    throw new InvalidArgumentError("It must be an event, a latitude and a longitude, for example 'sunset,52.52,13.40'.");
  return { event, lat: Number(lat), lon: Number(lon) };
}

/** The flags over what an entry has; another kind of schedule takes the place of the old one. */
function optionsOf(flags: EntryFlags, before: ScheduleOptions | null): ScheduleOptions {
  const kinds = KINDS.filter((kind) => flags[kind] !== undefined);
  if (kinds.length > 1) throw new UsageError(`give one of --cron, --every, --at and --solar, not ${kinds.length}`);
  const [kind] = kinds;
  const options: Record<string, unknown> = { ...before };
  if (kind !== undefined && before !== null && before[kind] === undefined)
    for (const name of [...KINDS, ...OF_KIND]) delete options[name];
  for (const name of [...KINDS, ...OTHERS]) if (flags[name] !== undefined) options[name] = flags[name];
  return options as unknown as ScheduleOptions;
}

/** By its name alone: where it goes is decided here, where the app's routes are known. */
function signatureOf(
  { app, config }: Connection,
  task: string,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
): WireSignature {
  const to = destinationOf(app?.registry.get(task)?.options.queue ?? null, config.router.find(task), config.defaultQueue);
  const options =
    to.exchange === undefined ? { queue: to.queue } : { exchange: to.exchange, routing_key: to.routingKey ?? to.queue };
  return makeSignature(task, { args, kwargs, options, immutable: true });
}

function told(flags: ConnectionFlags, ids: readonly string[], done: string): void {
  if (flags.json) return printJson(ids.map((id) => ({ id, done })));
  for (const id of ids) printLine(`${visible(id)}  ${done}`);
}

async function add(id: string, flags: EntryFlags): Promise<void> {
  const { task, args = [], kwargs = {} } = flags;
  if (task === undefined) throw new UsageError('lovage schedule add needs the task to run: --task NAME');
  const options = optionsOf(flags, null);
  await withSchedules(flags, async (store, connection) => {
    const entry = { id, options, signature: signatureOf(connection, task, args, kwargs) };
    const [taken] = await addEntries(store, [entry], Date.now());
    if (taken !== undefined)
      throw new ConfigError(
        'E_SCHEDULE_TAKEN',
        `there is a schedule entry ${JSON.stringify(id)} already: lovage schedule edit changes it`,
      );
    told(flags, [id], 'added');
  });
}

async function edit(id: string, flags: EntryFlags): Promise<void> {
  const { task, args, kwargs } = flags;
  await withSchedules(flags, async (store, connection) => {
    await editEntry(store, id, Date.now(), ({ options, signature }) => {
      const next = { options: optionsOf(flags, options) };
      if (task === undefined && args === undefined && kwargs === undefined) return next;
      if (task !== undefined) return { ...next, signature: signatureOf(connection, task, args ?? [], kwargs ?? {}) };
      return {
        ...next,
        signature: { ...signature, args: [...(args ?? signature.args)], kwargs: { ...(kwargs ?? signature.kwargs) } },
      };
    });
    told(flags, [id], 'edited');
  });
}

const pausing =
  (paused: boolean) =>
  async (ids: readonly string[], flags: ConnectionFlags): Promise<void> =>
    withSchedules(flags, async (store) => {
      for (const id of ids) await setPaused(store, id, paused, Date.now());
      told(flags, ids, paused ? 'paused' : 'resumed');
    });

async function run(id: string, flags: ConnectionFlags): Promise<void> {
  await withSchedules(flags, async (store) => {
    const taskId = await requestRun(store, id);
    if (flags.json) printJson({ id, taskId });
    else printLine(taskId);
    if ((await store.lead()).owner === null) printNote('no scheduler leads: it runs when one starts');
  });
}

async function remove(ids: readonly string[], flags: ConnectionFlags): Promise<void> {
  await withSchedules(flags, async (store) => {
    for (const id of ids) await removeEntry(store, id);
    told(flags, ids, 'removed');
  });
}

interface ImportFlags extends ConnectionFlags {
  readonly timezone?: string;
  readonly priorities: '9-first' | '0-first';
  readonly dryRun?: boolean;
}

async function importCelery(file: string, flags: ImportFlags): Promise<void> {
  const { timezone, priorities, dryRun = false } = flags;
  let json: unknown;
  try {
    json = JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    throw new WireError('E_DECODE', `${file} is no JSON that can be read: ${toError(error).message}`);
  }
  const { entries, refused } = importCeleryBeat(json, { priorities, ...(timezone === undefined ? {} : { timezone }) });
  await withSchedules(flags, async (store, connection) => {
    const made = entries.map(
      ({ name, task, args, kwargs, options }): NewEntry => ({
        id: name,
        options,
        signature: signatureOf(connection, task, args, kwargs),
      }),
    );
    const taken = new Set(dryRun ? [] : await addEntries(store, made, Date.now()));
    const done = dryRun ? 'would be added' : 'added';
    if (flags.json) {
      printJson({
        entries: entries.map(({ name, task, notes }) => ({
          id: name,
          task,
          notes,
          outcome: taken.has(name) ? 'there already' : done,
        })),
        refused: refused.map(({ name, error }) => ({ id: name, code: error.code, message: error.message })),
      });
    } else {
      for (const { name, notes } of entries) {
        printLine(`${visible(name)}  ${taken.has(name) ? 'there already, left as it is' : done}`);
        for (const note of notes) printNote(`  ${visible(note)}`);
      }
    }
    if (refused.length === 0) return;
    for (const { name, error } of refused) if (!flags.json) printNote(`${visible(name)}  refused: ${visible(error.message)}`);
    throw new ConfigError('E_SCHEDULE', `${refused.length} of ${refused.length + entries.length} entries were not taken over`);
  });
}

function entryOptions(command: Command): Command {
  return addConnectionOptions(
    command
      .option('--cron <fields>', "when, as a crontab: '0 3 * * mon-fri', six fields with seconds, or @daily")
      .addOption(new Option('--every <duration>', "when, as an interval: '30s'").argParser(duration))
      .addOption(new Option('--at <time>', "when, once: '2030-01-31T08:00:00Z'").argParser(instant))
      .addOption(new Option('--solar <event,lat,lon>', "when, by the sun: 'sunset,52.52,13.40'").argParser(solar))
      .option('--timezone <zone>', 'IANA zone of --cron (default: UTC)')
      .option('--task <name>', 'the task to run')
      .addOption(new Option('--args <json>', 'its arguments, a JSON array').argParser(jsonArray))
      .addOption(new Option('--kwargs <json>', 'its keyword arguments, a JSON object').argParser(jsonObject))
      .option('--queue <name>', 'queue to send to (default: that of the task, else the default queue)', named)
      .option('--priority <n>', '0 to 9, higher = sooner', wholeNumber(0))
      .addOption(new Option('--expires <duration>', 'a run that has not started by then does not run').argParser(duration))
      .addOption(new Option('--jitter <duration>', 'put each slot off by up to this').argParser(duration))
      .addOption(new Option('--start <time>', 'no slot before').argParser(instant))
      .addOption(new Option('--end <time>', 'no slot after').argParser(instant))
      .addOption(
        new Option('--catch-up <slots>', 'slots missed without a scheduler (default: last)').choices(['none', 'last', 'all']),
      )
      .addOption(
        new Option('--overlap <choice>', 'while the run before goes on (default: allow)').choices(['allow', 'skip', 'queue']),
      ),
    { results: true },
  );
}

export function defineScheduleWork(command: Command): void {
  entryOptions(
    command.command('add').description('Adds an entry.').argument('<id>', 'its id, one of a kind in the app', named),
  ).action(add);
  entryOptions(
    command
      .command('edit')
      .description('Changes what the flags name of an entry that was added; its history stays.')
      .argument('<id>', 'id of the entry', named),
  ).action(edit);
  const withIds = (name: string, description: string): Command =>
    addConnectionOptions(command.command(name).description(description).argument('<ids...>', 'ids of the entries', allNamed), {
      results: true,
    });
  withIds('pause', 'Lets entries rest; slots in a pause are left out for good.').action(pausing(true));
  withIds('resume', 'Ends the pause of entries.').action(pausing(false));
  addConnectionOptions(
    command
      .command('run')
      .description('Runs an entry now, beside its slots, and prints the id of its task.')
      .argument('<id>', 'id of the entry', named),
    { results: true },
  ).action(run);
  withIds('remove', 'Removes entries that were added, and their history.').action(remove);
  addConnectionOptions(
    command
      .command('import')
      .description(
        "Adds the entries of Celery's beat_schedule setting, written down as JSON. What is there already stays as it is.",
      )
      .argument('<file>', 'JSON file')
      .option('--timezone <zone>', "Celery's timezone setting (default: UTC)")
      .addOption(
        new Option('--priorities <sense>', 'what priorities mean there: 9-first on RabbitMQ, 0-first on Redis')
          .choices(['9-first', '0-first'])
          .default('9-first'),
      )
      .option('--dry-run', 'only say what would be added'),
    { results: true },
  ).action(importCelery);
}
