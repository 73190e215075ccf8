/** `lovage schedule list | show | next`, and the frame of the commands that change entries, which are in `schedule-work.ts`. */
import type { Command } from 'commander';
import type { BeatStore } from '../../beat/beat-store.js';
import { type Entry, getEntry, listEntries } from '../../beat/entries.js';
import { describeSchedule, previewSlots } from '../../beat/schedules/index.js';
import { encodeJson } from '../../wire/serializers/json.js';
import { defineGroup } from '../command-group.js';
import { ageText } from '../dead-filter.js';
import { addConnectionOptions, type ConnectionFlags, named, wholeNumber } from '../options.js';
import { formatTable, printJson, printLine, printNote, shorten, visible } from '../output.js';
import { withSchedules } from '../with-schedules.js';
import { defineScheduleWork } from './schedule-work.js';

const iso = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());

/** An entry for machines. */
function describe({ id, paused, definition, problem, state, nextMs }: Entry): Record<string, unknown> {
  const { cursorMs, heldMs, runs, ...counts } = state;
  return {
    ...{ id, paused, problem, source: definition?.source ?? null, task: definition?.signature.task ?? null },
    words: definition === null ? null : describeSchedule(definition.resolved.schedule),
    options: definition?.options ?? null,
    signature: definition?.signature ?? null,
    next: iso(nextMs),
    ...counts,
    earlier: definition?.earlier ? { runs: definition.earlier.runs, last: iso(definition.earlier.lastMs) } : null,
    decidedUntil: iso(cursorMs),
    heldSince: iso(heldMs),
    runs: runs.map(({ slotMs, sentMs, endedMs, ...run }) => ({
      ...{ slot: iso(slotMs), sent: iso(sentMs), ended: iso(endedMs), ...run },
      durationMs: endedMs === null ? null : endedMs - sentMs,
    })),
  };
}

function lastText({ state }: Entry, nowMs: number): string {
  const last = state.runs.at(-1);
  return last === undefined ? '' : `${last.state ?? 'sent'} ${ageText(nowMs - last.sentMs)} ago`;
}

async function list(flags: ConnectionFlags & { readonly limit: number }): Promise<void> {
  await withSchedules(flags, async (store, { config }) => {
    const nowMs = Date.now();
    const entries = await listEntries(store, nowMs);
    const lead = await store.lead();
    const shown = entries.slice(0, flags.limit);
    if (flags.json)
      return printJson({ app: config.name, leader: lead.owner, count: entries.length, entries: shown.map(describe) });
    printNote(lead.owner === null ? 'no scheduler leads' : `${visible(lead.owner)} leads`);
    if (entries.length === 0) return printNote(`the app ${visible(config.name)} has no schedule entries`);
    const rest = entries.length > shown.length ? `; the first ${shown.length} (--limit shows more)` : '';
    printNote(`${entries.length} ${entries.length === 1 ? 'entry' : 'entries'} of the app ${visible(config.name)}${rest}`);
    printLine(
      formatTable(
        ['ID', 'FROM', 'TASK', 'WHEN', 'NEXT', 'LAST RUN', 'SENT', 'MISSED', 'SKIPPED'],
        shown.map((entry) => [
          shorten(entry.id, 40),
          entry.definition?.source ?? '?',
          shorten(entry.definition?.signature.task ?? '(cannot be read)', 40),
          shorten(entry.definition === null ? '' : describeSchedule(entry.definition.resolved.schedule), 50),
          entry.paused ? 'paused' : (iso(entry.nextMs)?.replace('.000Z', 'Z') ?? ''),
          lastText(entry, nowMs),
          ...[entry.state.sent, entry.state.missed, entry.state.skipped],
        ]),
        [6, 7, 8],
      ),
    );
  });
}

async function show(id: string, flags: ConnectionFlags): Promise<void> {
  await withSchedules(flags, async (store) => {
    const entry = await getEntry(store, id, Date.now());
    if (flags.json) return printJson(describe(entry));
    const { definition, state } = entry;
    const rows: [string, string][] = [
      ['id', entry.id],
      ['state', entry.paused ? 'paused' : 'active'],
    ];
    if (entry.problem !== null) rows.push(['problem', entry.problem]);
    if (definition !== null) {
      const { signature, resolved, source, options } = definition;
      rows.push(
        ['defined in', source],
        ['when', describeSchedule(resolved.schedule)],
        ['options', JSON.stringify(options)],
        ['task', signature.task],
        ['args', encodeJson(signature.args)],
        ['kwargs', encodeJson(signature.kwargs)],
      );
    }
    rows.push(['next', iso(entry.nextMs) ?? ''], ['sent', String(state.sent)]);
    if (definition?.earlier) {
      const { runs, lastMs } = definition.earlier;
      rows.push(['earlier', `${runs} sent by Celery's beat${lastMs === null ? '' : `, the last ${iso(lastMs)}`}`]);
    }
    rows.push(['missed', String(state.missed)], ['skipped', String(state.skipped)]);
    for (const [name, value] of rows) printLine(`${name.padEnd(12)}${visible(value).replaceAll('\n', ' ')}`);
    if (state.runs.length === 0) return;
    printLine(
      formatTable(
        ['SLOT', 'SENT', 'TASK ID', 'STATE', 'TOOK', 'ERROR'],
        state.runs
          .toReversed()
          .map(({ slotMs, sentMs, taskId, state: end, endedMs, error }) => [
            iso(slotMs) ?? 'run now',
            iso(sentMs) ?? '',
            taskId,
            end ?? '',
            endedMs === null ? '' : `${endedMs - sentMs} ms`,
            shorten(error ?? '', 60),
          ]),
        [4],
      ),
    );
  });
}

async function next(id: string, flags: ConnectionFlags & { readonly count: number }): Promise<void> {
  const preview = async (store: BeatStore): Promise<void> => {
    const { definition, problem, paused } = await getEntry(store, id, Date.now());
    if (definition === null) return printNote(`the entry cannot be read: ${visible(problem ?? '')}`);
    const slots = previewSlots(definition.resolved.schedule, Date.now(), flags.count);
    if (flags.json) return printJson(slots.map(({ slotMs, local }) => ({ slot: iso(slotMs), local })));
    printNote(`${describeSchedule(definition.resolved.schedule)}${paused ? ' (paused now)' : ''}`);
    if (slots.length === 0) printNote('no more slots');
    for (const { slotMs, local } of slots) printLine(`${iso(slotMs)}  ${local}`);
  };
  await withSchedules(flags, preview, true);
}

export function defineSchedule(command: Command): void {
  defineGroup(
    command.description('Looks at the schedules of an app and changes them. Running schedulers follow at once.').addHelpText(
      'after',
      `
Entries belong to an app by its name, so give the --app (or LOVAGE_APP) that the scheduler has.

Examples:
  $ lovage schedule list
  $ lovage schedule add cleanup --cron '0 3 * * *' --timezone Europe/Berlin --task files.clean --args '["/tmp"]'
  $ lovage schedule next cleanup --count 5
  $ lovage schedule pause cleanup`,
    ),
  );
  addConnectionOptions(
    command
      .command('list')
      .description('Shows all entries: when they run next, and how they ran last.')
      .option('--limit <n>', 'how many to show', wholeNumber(1), 200),
    { results: true },
  ).action(list);
  addConnectionOptions(
    command
      .command('show')
      .description('Shows an entry with its options, counts and last runs.')
      .argument('<id>', 'id of the entry', named),
    { results: true },
  ).action(show);
  addConnectionOptions(
    command
      .command('next')
      .description('Previews the next slots of an entry, in UTC and in its time zone.')
      .argument('<id>', 'id of the entry', named)
      .option('-n, --count <n>', 'how many', wholeNumber(1), 10),
    { results: true },
  ).action(next);
  defineScheduleWork(command);
}
