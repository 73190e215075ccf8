/** `lovage queues find | remove | move`: single messages of queues. Where they are is `brokers/waiting.ts`; who holds a task is asked of the workers. */
import type { Command } from 'commander';
import type { Broker } from '../../brokers/broker.js';
import type { WaitingFilter, WaitingMessage, WaitingReport, WaitingWork } from '../../brokers/waiting.js';
import { BrokerError } from '../../core/errors.js';
import { mustConfirm } from '../confirm.js';
import { withControl } from '../control/connect.js';
import { UsageError } from '../exit-codes.js';
import {
  addConnectionOptions,
  allNamed,
  type Connection,
  type ConnectionFlags,
  named,
  resolveConnection,
  wholeNumber,
  withBroker,
} from '../options.js';
import { formatTable, printJson, printLine, printNote, shorten, startProgress } from '../output.js';

/** One step; the broker may be away for as long. */
const STEP_MS = 30_000;

interface FilterFlags extends ConnectionFlags {
  readonly task?: string;
  readonly queue?: readonly string[];
  readonly limit?: number;
}

interface WorkFlags extends FilterFlags {
  readonly dryRun?: boolean;
  readonly yes?: boolean;
}

interface Holder {
  readonly node: string;
  readonly id: string;
  readonly state: string;
}

const plural = (count: number): string => `${count} message${count === 1 ? '' : 's'}`;

function filterOf(ids: readonly string[], { task }: FilterFlags): WaitingFilter {
  return { ...(ids.length > 0 ? { ids } : {}), ...(task === undefined ? {} : { task }) };
}

/** @throws UsageError */
function needsFilter(ids: readonly string[], { task }: FilterFlags, command: string): void {
  if (ids.length === 0 && task === undefined)
    throw new UsageError(`lovage queues ${command} needs ids of tasks, or --task with the name of one`);
}

/** Those that were named, or all that the broker knows. @throws UsageError where it knows none */
async function queuesOf(broker: Broker, { queue }: FilterFlags): Promise<readonly string[]> {
  const queues = queue ?? (await broker.queues());
  if (queues.length > 0) return queues;
  throw new UsageError(`the ${broker.name} broker cannot list its queues, or has none: name them with --queue`);
}

/** Workers that hold these tasks now. */
function holders(connection: Connection, ids: readonly string[]): Promise<readonly Holder[]> {
  return withControl(connection, async (control) => {
    const { answers } = await control.queryTask(ids);
    return [...answers].flatMap(([node, found]) => Object.entries(found).map(([id, [state]]) => ({ node, id, state })));
  });
}

function describe({ queue, id, task, notBeforeMs, headers }: WaitingMessage): Record<string, unknown> {
  return { queue, id, task, notBefore: notBeforeMs === null ? null : new Date(notBeforeMs).toISOString(), headers };
}

function row({ queue, id, task, notBeforeMs, headers }: WaitingMessage): string[] {
  const parts = [headers['argsrepr'], headers['kwargsrepr']].filter((part) => typeof part === 'string');
  const args = parts.filter((part) => !['', '()', '[]', '{}'].includes(part)).join(' ');
  const due = notBeforeMs === null ? 'now' : new Date(notBeforeMs).toISOString();
  return [shorten(queue, 40), shorten(id ?? '', 36), shorten(task ?? '', 40), shorten(args, 50), due];
}

async function find(ids: readonly string[] | undefined, flags: FilterFlags): Promise<void> {
  const wanted = ids ?? [];
  needsFilter(wanted, flags, 'find');
  const connection = await resolveConnection(flags);
  const limit = flags.limit ?? 100;
  const found = await withBroker(connection, async (broker) => {
    const can = broker.capabilities.peek;
    if (can !== true)
      throw new BrokerError(
        'E_NOT_SUPPORTED',
        `the ${broker.name} broker cannot show messages: ${can}. "lovage inspect query_task" asks the workers`,
      );
    const messages: WaitingMessage[] = [];
    for (const queue of await queuesOf(broker, flags)) {
      if (messages.length >= limit) break;
      const options = { timeoutMs: STEP_MS, limit: limit - messages.length };
      messages.push(...(await broker.waiting.find(queue, filterOf(wanted, flags), options)));
    }
    return messages;
  });
  // After the queues: what was taken meanwhile is seen there, where asked the other way round it would be seen nowhere.
  const held = wanted.length > 0 ? await holders(connection, wanted) : [];
  if (flags.json) return printJson({ waiting: found.map(describe), held });
  if (found.length > 0) printLine(formatTable(['QUEUE', 'ID', 'TASK', 'ARGUMENTS', 'NOT BEFORE'], found.map(row)));
  if (held.length > 0)
    printLine(
      formatTable(
        ['ID', 'HELD BY', 'STATE'],
        held.map(({ node, id, state }) => [shorten(id, 36), shorten(node, 60), state]),
      ),
    );
  if (found.length + held.length === 0) printNote('no such message waits, and no worker holds it');
}

/** Runs the work queue by queue under a progress bar. What was done before an interruption is said with the error. */
async function work(
  broker: Broker,
  queues: readonly string[],
  flags: WorkFlags,
  filter: WaitingFilter,
  label: string,
  run: (queue: string, filter: WaitingFilter, work: WaitingWork) => Promise<WaitingReport>,
): Promise<WaitingReport> {
  const depths = await broker.depth(queues);
  const total = depths.reduce((sum, { ready, delayed }) => sum + ready + (delayed ?? 0), 0);
  const progress = startProgress(label, total, { silent: flags.json === true });
  let [looked, done, running] = [0, 0, 0];
  let missing = filter.ids;
  try {
    for (const queue of queues) {
      if (flags.limit !== undefined && done >= flags.limit) break;
      if (missing?.length === 0) break;
      const report = await run(
        queue,
        { ...filter, ids: missing },
        {
          timeoutMs: STEP_MS,
          dryRun: flags.dryRun,
          limit: flags.limit === undefined ? undefined : flags.limit - done,
          onProgress: (step) => {
            running = step.done;
            progress.update(looked + step.looked);
          },
        },
      );
      looked += report.looked;
      done += report.done;
      running = 0;
      if (missing) missing = report.missing;
    }
  } catch (error) {
    if (!flags.json && !flags.dryRun) printNote(`${plural(done + running)} went before this; the command can be repeated`);
    throw error;
  } finally {
    progress.end();
  }
  return { looked, done, missing: missing ?? [] };
}

/** Says what was done. @throws BrokerError `E_MESSAGE_MISSING` for ids that do not wait there */
function tell(flags: WorkFlags, report: WaitingReport, done: 'removed' | 'moved'): void {
  const { missing } = report;
  if (flags.json) printJson({ [done]: flags.dryRun ? 0 : report.done, matching: report.done, looked: report.looked, missing });
  else if (flags.dryRun) printLine(`${plural(report.done)} of ${report.looked}; dry run, nothing was ${done}`);
  else printLine(`${plural(report.done)} ${done}`);
  if (missing.length === 0) return;
  const names = `${missing.slice(0, 5).join(', ')}${missing.length > 5 ? ', …' : ''}`;
  throw new BrokerError(
    'E_MESSAGE_MISSING',
    `${missing.length} of those named do not wait there (${names}): they run, have run, or wait in another queue`,
  );
}

async function remove(ids: readonly string[] | undefined, flags: WorkFlags): Promise<void> {
  const wanted = ids ?? [];
  needsFilter(wanted, flags, 'remove');
  const confirmed = flags.dryRun ? async () => true : mustConfirm(flags, 'lovage queues remove removes messages for good');
  await withBroker(await resolveConnection(flags), async (broker) => {
    const queues = await queuesOf(broker, flags);
    const what = wanted.length > 0 ? plural(wanted.length) : `all messages of task ${flags.task}`;
    if (!(await confirmed(`Remove ${what} from ${queues.length === 1 ? queues[0] : `${queues.length} queues`} for good?`)))
      return printNote('nothing was removed');
    const report = await work(broker, queues, flags, filterOf(wanted, flags), 'removing', (queue, filter, options) =>
      broker.waiting.remove(queue, filter, options),
    );
    tell(flags, report, 'removed');
  });
}

async function move(from: string, to: string, ids: readonly string[] | undefined, flags: WorkFlags): Promise<void> {
  const wanted = ids ?? [];
  // Who names messages one by one has looked at them; a whole queue may be more than was thought.
  const confirmed =
    flags.dryRun || wanted.length > 0 ? async () => true : mustConfirm(flags, 'lovage queues move moves all messages that match');
  await withBroker(await resolveConnection(flags), async (broker) => {
    const what = flags.task === undefined ? 'all messages' : `all messages of task ${flags.task}`;
    if (!(await confirmed(`Move ${what} from ${from} to ${to}?`))) return printNote('nothing was moved');
    const report = await work(broker, [from], flags, filterOf(wanted, flags), 'moving', (queue, filter, options) =>
      broker.waiting.move(queue, to, filter, options),
    );
    tell(flags, report, 'moved');
  });
}

function addWorkOptions(command: Command): Command {
  return command
    .option('--task <name>', 'only messages of this task', named)
    .option('--limit <n>', 'at most so many, the next to be served first', wholeNumber(1))
    .option('--dry-run', 'only say how many are meant')
    .option('-y, --yes', 'do not ask');
}

export function defineQueueMessages(group: Command): void {
  addConnectionOptions(
    group
      .command('find')
      .summary('where tasks wait, by id or by name')
      .description('Shows where messages wait, by the ids of their tasks or by the name of one, and which workers hold them.')
      .argument('[ids...]', 'ids of tasks', allNamed)
      .option('--task <name>', 'messages of this task', named)
      .option('--queue <queue>', 'look only there; can be repeated', allNamed)
      .option('--limit <n>', 'how many', wholeNumber(1), 100),
    { results: false },
  )
    .addHelpText(
      'after',
      '\nExamples:\n  $ lovage queues find 4f3c0a52-6f0e-4f2e-9c1d-0b1f6a3a7d11\n  $ lovage queues find --task reports.make --queue slow --json',
    )
    .action(find);
  addConnectionOptions(
    addWorkOptions(
      group
        .command('remove')
        .summary('take messages out of queues for good')
        .description(
          'Removes waiting messages for good, after asking. What runs is left alone, and no result is written: lovage revoke does both.',
        )
        .argument('[ids...]', 'ids of tasks', allNamed)
        .option('--queue <queue>', 'only from there; can be repeated', allNamed),
    ),
    { results: false },
  )
    .addHelpText(
      'after',
      '\nExamples:\n  $ lovage queues remove 4f3c0a52-6f0e-4f2e-9c1d-0b1f6a3a7d11\n  $ lovage queues remove --task mails.send --queue slow --dry-run',
    )
    .action(remove);
  addConnectionOptions(
    addWorkOptions(
      group
        .command('move')
        .summary('move messages to another queue')
        .description(
          'Moves waiting messages to the back of another queue, in their order. Interrupted or killed, it has moved a part and lost nothing: repeat it.',
        )
        .argument('<from>', 'the queue that they wait in', named)
        .argument('<to>', 'the queue that they are to wait in', named)
        .argument('[ids...]', 'ids of tasks; all messages by default', allNamed),
    ),
    { results: false },
  )
    .addHelpText(
      'after',
      '\nExamples:\n  $ lovage queues move celery slow --task reports.make\n  $ lovage queues move old new --yes',
    )
    .action(move);
}
