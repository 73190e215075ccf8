/** `lovage dead replay | purge`: sends dead letters back to their queues, or removes them for good. */
import type { Command } from 'commander';
import { ClientGateway } from '../../app/client-gateway.js';
import { replayDeadLetters } from '../../app/replay.js';
import type { Broker } from '../../brokers/broker.js';
import type { DeadReport, DeadSelection, DeadTotals, DeadWorkOptions } from '../../brokers/dead-letters.js';
import { BrokerError, LovageError } from '../../core/errors.js';
import { mustConfirm } from '../confirm.js';
import { addFilterOptions, countsText, letters, type SelectionFlags, selectionOf, sizeText } from '../dead-filter.js';
import { addConnectionOptions, allNamed, type ConnectionFlags, named, resolveConnection, withBroker } from '../options.js';
import { printJson, printLine, printNote, startProgress } from '../output.js';

interface WorkFlags extends ConnectionFlags, SelectionFlags {
  readonly yes?: boolean;
  readonly dryRun?: boolean;
}

/** One step of a replay or purge; the broker may be away for as long. */
const STEP_MS = 30_000;

/** What is meant, counted. Of ids only their number is known. */
async function totalsOf({ deadLetters }: Broker, which: DeadSelection): Promise<Pick<DeadTotals, 'count'> & Partial<DeadTotals>> {
  return 'ids' in which ? { count: new Set(which.ids).size } : deadLetters.totals(which.filter);
}

function told({ count, bytes, codes, queues }: Awaited<ReturnType<typeof totalsOf>>): string {
  if (count === 0 || bytes === undefined || !codes || !queues) return letters(count);
  return `${letters(count)} (${sizeText(bytes)}; ${countsText(codes)}; in ${countsText(queues)})`;
}

function tellDryRun(flags: WorkFlags, totals: Awaited<ReturnType<typeof totalsOf>>, done: string): void {
  if (!flags.json) return printLine(`${told(totals)}; dry run, nothing was ${done}`);
  const { count, bytes, codes, queues } = totals;
  printJson({ count, bytes, codes: codes && Object.fromEntries(codes), queues: queues && Object.fromEntries(queues), [done]: 0 });
}

/** Says what was done, and fails if something was asked for that could not be. */
function tell(flags: WorkFlags, report: DeadReport, done: 'replayed' | 'removed'): void {
  const { missing, refused, refusedCount } = report;
  if (flags.json) printJson({ [done]: report.done, missing, refused, refusedCount });
  else printLine(`${letters(report.done)} ${done}`);
  const [first] = refused;
  if (first) {
    const others = refusedCount > 1 ? `, the first: ${first.message}` : `: ${first.message}`;
    throw new LovageError(first.code, `${letters(refusedCount)} could not be ${done} and stayed${others}`);
  }
  if (missing.length > 0) {
    throw new BrokerError(
      'E_DEAD_LETTER_MISSING',
      `${letters(missing.length)} of those named ${missing.length === 1 ? 'is' : 'are'} not there (${missing.slice(0, 5).join(', ')}${missing.length > 5 ? ', …' : ''}): replayed or removed before, or of another broker`,
    );
  }
}

/** Runs the work under a progress bar. What was done before an interruption is said with the error. */
async function work(
  flags: WorkFlags,
  label: string,
  total: number,
  run: (options: DeadWorkOptions) => Promise<DeadReport>,
): Promise<DeadReport> {
  const progress = startProgress(label, total, { silent: flags.json === true });
  let done = 0;
  try {
    return await run({
      timeoutMs: STEP_MS,
      onProgress: (running) => {
        done = running;
        progress.update(running);
      },
    });
  } catch (error) {
    if (!flags.json) printNote(`${letters(done)} went before this; the others are still there, and the command can be repeated`);
    throw error;
  } finally {
    progress.end();
  }
}

async function replay(ids: readonly string[] | undefined, flags: WorkFlags & { readonly to?: string }): Promise<void> {
  const which = selectionOf(ids ?? [], flags, 'replay', Date.now());
  // Who names letters one by one has looked at them; a filter may mean more than was thought.
  const confirmed =
    'ids' in which || flags.dryRun
      ? async () => true
      : mustConfirm(flags, 'lovage dead replay runs tasks again, as many as match');
  const connection = await resolveConnection(flags);
  const results = /^rpc:/i.test(connection.config.resultUrl) ? null : new ClientGateway(connection.config);
  try {
    await withBroker(connection, async (broker) => {
      const totals = await totalsOf(broker, which);
      if (flags.dryRun) return tellDryRun(flags, totals, 'replayed');
      const where = flags.to === undefined ? 'their queues' : `queue ${flags.to}`;
      if (!(await confirmed(`Send ${told(totals)} back to ${where}?`))) return printNote('nothing was replayed');
      const report = await work(flags, 'replaying', totals.count, (options) =>
        replayDeadLetters(broker, results, which, { ...options, queue: flags.to }),
      );
      tell(flags, report, 'replayed');
    });
  } finally {
    await results?.close();
  }
}

async function purge(ids: readonly string[] | undefined, flags: WorkFlags): Promise<void> {
  const which = selectionOf(ids ?? [], flags, 'purge', Date.now());
  const confirmed = flags.dryRun ? async () => true : mustConfirm(flags, 'lovage dead purge removes messages for good');
  await withBroker(await resolveConnection(flags), async (broker) => {
    const totals = await totalsOf(broker, which);
    if (flags.dryRun) return tellDryRun(flags, totals, 'removed');
    if (!(await confirmed(`Remove ${told(totals)} for good?`))) return printNote('nothing was removed');
    const report = await work(flags, 'purging', totals.count, (options) => broker.deadLetters.purge(which, options));
    tell(flags, report, 'removed');
  });
}

function addWorkOptions(command: Command): Command {
  return addFilterOptions(command.argument('[ids...]', 'ids of dead letters', allNamed))
    .option('--all', 'all of them')
    .option('--dry-run', 'only say how many are meant')
    .option('-y, --yes', 'do not ask');
}

export function defineDeadReplay(command: Command): void {
  addConnectionOptions(
    addWorkOptions(
      command
        .summary('send dead letters back to their queues')
        .description(
          'Sends dead letters back to their queues, oldest first, for a fresh start: their losses are forgotten, their attempts are not. A letter is removed only once the broker has confirmed its message. Letters that are no message stay.',
        ),
    ).option('--to <queue>', 'to this queue instead of the one they came from', named),
    { results: true },
  )
    .addHelpText(
      'after',
      '\nExamples:\n  $ lovage dead replay 17 18\n  $ lovage dead replay --code E_NOT_REGISTERED --newer-than 2h --dry-run\n  $ lovage dead replay --queue slow --to slow-again --yes',
    )
    .action(replay);
}

export function defineDeadPurge(command: Command): void {
  addConnectionOptions(
    addWorkOptions(
      command
        .summary('remove dead letters for good')
        .description('Removes dead letters for good, after asking. Nothing else ever removes them.'),
    ),
    { results: false },
  )
    .addHelpText(
      'after',
      '\nExamples:\n  $ lovage dead purge --older-than 30d\n  $ lovage dead purge 17 --yes\n  $ lovage dead purge --all --dry-run --json',
    )
    .action(purge);
}
