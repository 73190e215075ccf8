/** `lovage events`: prints what happens in the cluster, one line an event. Hearing is `events/receiver.ts`. */
import { once } from 'node:events';
import { type Command, InvalidArgumentError } from 'commander';
import { type Duration, durationMs } from '../../core/duration.js';
import { openEvents } from '../../events/receiver.js';
import { EventLines, eventLine } from '../event-lines.js';
import { addConnectionOptions, type ConnectionFlags, duration, named, resolveConnection, wholeNumber } from '../options.js';
import { printJson, printLine, printNote } from '../output.js';
import { connectedBroker, untilStopped } from '../watch.js';

interface EventsFlags extends ConnectionFlags {
  readonly type?: readonly string[];
  readonly task?: string;
  readonly limit?: number;
  readonly for?: Duration;
}

/** `task-failed,worker-offline`; what is no event type at all is refused, a custom one is not. */
function typeList(text: string, before: readonly string[] | undefined): readonly string[] {
  const types = text.split(',').map((type) => type.trim());
  if (types.every((type) => /^[a-z]+(-[a-z0-9]+)+$/i.test(type))) return [...(before ?? []), ...types];
  throw new InvalidArgumentError("It must be event types, for example 'task-failed' or 'task-failed,worker-offline'.");
}

async function run(flags: EventsFlags): Promise<void> {
  const connection = await resolveConnection(flags);
  const broker = await connectedBroker(connection);
  const { signal, release } = untilStopped(flags.for === undefined ? null : durationMs(flags.for, '--for'));
  // The first event of a task is the one with its name, so all task events are needed to find a task by its name.
  const types = flags.task === undefined ? flags.type : undefined;
  const stream = openEvents({ broker: async () => broker, logger: connection.logger }, { types, signal });
  try {
    await stream.ready;
    if (!flags.json) printNote('listening; workers tell of tasks while somebody does. Ctrl+C ends it');
    const lines = new EventLines(flags.task ?? null);
    let printed = 0;
    for await (const event of stream) {
      const name = lines.name(event);
      if (!lines.wants(event, name) || (flags.type !== undefined && !flags.type.includes(event.type))) continue;
      if (flags.json) printJson(event);
      else printLine(eventLine(event, name));
      // A reader that is slow must not fill our memory: the stream is bounded, and counts what it drops.
      if (process.stdout.writableNeedDrain) await once(process.stdout, 'drain', { signal }).catch(() => {});
      printed += 1;
      if (printed === flags.limit) break;
    }
  } finally {
    release();
    await stream.close();
    await broker.close();
  }
  if (stream.dropped > 0) printNote(`${stream.dropped} events came faster than they could be printed, and are missing above`);
}

export function defineEvents(command: Command): void {
  addConnectionOptions(
    command
      .description(
        'Prints what happens in the cluster as it happens, one line an event: tasks and workers, of Python too. Ends with Ctrl+C, --limit or --for.',
      )
      .option('--type <types>', 'only events of these types, separated by commas', typeList)
      .option('--task <id or name>', 'only events of this task', named)
      .option('--limit <n>', 'end after so many', wholeNumber(1))
      .option('--for <duration>', 'end after this time', duration),
    { results: false },
  )
    .addHelpText(
      'after',
      `
Workers of Lovage tell of tasks while somebody listens; those of Python only with -E, or after "lovage control enable_events".
With --json each event is one line of JSON with all its fields (docs/reference/events.md).

Examples:
  $ lovage events --broker redis://localhost:6379/0
  $ lovage events --type task-failed --json | jq -r .exception
  $ lovage events --task math.add --for 1m`,
    )
    .action(run);
}
