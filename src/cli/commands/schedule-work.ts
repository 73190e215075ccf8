/** `lovage schedule add | edit | pause | resume | run | remove`. What they do is `beat/entries.ts`; `import` is `schedule-import.ts`. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { addEntries, editEntry, removeEntry, requestRun, setPaused } from '../../beat/entries.js';
import type { DstPolicy, ScheduleOptions } from '../../beat/schedules/index.js';
import type { Duration } from '../../core/duration.js';
import { ConfigError } from '../../core/errors.js';
import { UsageError } from '../exit-codes.js';
import {
  addConnectionOptions,
  allNamed,
  type ConnectionFlags,
  duration,
  instant,
  jsonArray,
  jsonObject,
  named,
  wholeNumber,
} from '../options.js';
import { printJson, printLine, printNote, visible } from '../output.js';
import { signatureOf, withSchedules } from '../with-schedules.js';
import { defineScheduleImport } from './schedule-import.js';

interface EntryFlags extends ConnectionFlags {
  readonly cron?: string;
  readonly every?: Duration;
  readonly at?: Date;
  readonly solar?: ScheduleOptions['solar'];
  readonly timezone?: string;
  readonly dst?: DstPolicy;
  readonly anchor?: Date | 'last-run';
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
const OTHERS = [
  ...(['timezone', 'dst', 'anchor', 'jitter', 'start', 'end'] as const),
  ...(['expires', 'priority', 'queue', 'catchUp', 'overlap'] as const),
];
/** Options that go with one kind alone, and so go away with it. */
const OF_KIND = ['timezone', 'dst', 'anchor'] as const;

/** `sunset,52.52,13.40` */
function solar(text: string): { readonly event: string; readonly lat: number; readonly lon: number } {
  const [event = '', lat, lon, more] = text.split(',').map((part) => part.trim());
  if (!lat || !lon || more !== undefined || Number.isNaN(Number(lat)) || Number.isNaN(Number(lon)))
    throw new InvalidArgumentError("It must be an event, a latitude and a longitude, for example 'sunset,52.52,13.40'.");
  return { event, lat: Number(lat), lon: Number(lon) };
}

/** `next,both`, or one of the two. */
function dst(text: string): DstPolicy {
  const policy: { skipped?: DstPolicy['skipped']; repeated?: DstPolicy['repeated'] } = {};
  for (const word of text.split(',').map((part) => part.trim())) {
    if ((word === 'next' || word === 'skip') && policy.skipped === undefined) policy.skipped = word;
    else if ((word === 'first' || word === 'second' || word === 'both') && policy.repeated === undefined) policy.repeated = word;
    else
      throw new InvalidArgumentError(
        "It must be 'next' or 'skip' for times that the clock leaves out, 'first', 'second' or 'both' for those that come twice, or one of each: 'skip,both'.",
      );
  }
  return policy as DstPolicy;
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

function entryOptions(command: Command): Command {
  return addConnectionOptions(
    command
      .option('--cron <fields>', "when, as a crontab: '0 3 * * mon-fri', six fields with seconds, or @daily")
      .addOption(new Option('--every <duration>', "when, as an interval: '30s'").argParser(duration))
      .addOption(new Option('--at <time>', "when, once: '2030-01-31T08:00:00Z'").argParser(instant))
      .addOption(new Option('--solar <event,lat,lon>', "when, by the sun: 'sunset,52.52,13.40'").argParser(solar))
      .option('--timezone <zone>', 'IANA zone of --cron (default: UTC)')
      .addOption(
        new Option(
          '--dst <policy>',
          "for --cron on days when the clock is changed: next|skip for times left out, first|second|both for those that come twice, or 'skip,both'",
        ).argParser(dst),
      )
      .addOption(
        new Option(
          '--anchor <time>',
          "what --every is counted from: an instant, or 'last-run' (default: --start, else 1970)",
        ).argParser((text) => (text === 'last-run' ? text : instant(text))),
      )
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
  defineScheduleImport(command);
}
