/** `lovage revoke`: keeps tasks from running. What it does is `app/control/revoke.ts`. */
import { type Command, Option } from 'commander';
import { ClientGateway } from '../../app/client-gateway.js';
import type { RevokeOutcome } from '../../app/control/revoke.js';
import { checkRevokeOptions, checkTaskIds, revokeTasks } from '../../app/control/revoke.js';
import { addConnectionOptions, allNamed, type ConnectionFlags, instant, resolveConnection } from '../options.js';
import { printJson, printLine, visible } from '../output.js';

interface RevokeFlags extends ConnectionFlags {
  readonly terminate?: boolean;
  readonly signal?: string;
  readonly eta?: Date;
}

const MEANING: Readonly<Record<RevokeOutcome, string>> = {
  removed: 'removed: it waited, and is gone',
  recorded: 'recorded: the worker that gets it drops it',
  'broadcast-only': 'broadcast only: workers that start later do not know of it',
};

async function revoke(given: readonly string[], flags: RevokeFlags): Promise<void> {
  const { terminate = false, signal, eta } = flags;
  const options = { terminate, ...(signal === undefined ? {} : { signal }) };
  checkRevokeOptions(options, 'lovage revoke', 'one');
  const ids = checkTaskIds(given, 'lovage revoke');
  const { config, timeoutMs } = await resolveConnection(flags);
  const gateway = new ClientGateway(config);
  try {
    await (await gateway.broker()).connect({ timeoutMs });
    const revoker = { gateway, resultTtlMs: config.resultTtlMs, nowMs: () => Date.now() };
    const outcomes = await revokeTasks(revoker, ids, options, { etaMs: eta?.getTime() ?? null, keepsResults: true });
    if (flags.json) return printJson(ids.map((id) => ({ id, outcome: outcomes.get(id) })));
    const ending = terminate ? '; whoever runs it was told to end it' : '';
    for (const [id, outcome] of outcomes) printLine(`${visible(id)}  ${MEANING[outcome]}${outcome === 'removed' ? '' : ending}`);
  } finally {
    await gateway.close();
  }
}

export function defineRevoke(command: Command): void {
  addConnectionOptions(
    command
      .description(
        'Keeps tasks from running: what waits for a time is removed, what is in a queue is dropped by the worker that gets it, Python workers included while they listen. A task that runs goes on, unless --terminate is given.',
      )
      .argument('<ids...>', 'ids of the tasks', allNamed)
      .option(
        '--terminate',
        'end the tasks that run: their signals abort, and what has not ended within a moment is ended by force',
      )
      .option('--signal <name>', "with --terminate: SIGKILL leaves no moment; Python's workers send any signal")
      .addOption(
        new Option('--eta <time>', 'when the tasks were to run, if that is hours away: they are remembered until then').argParser(
          instant,
        ),
      ),
    { results: true },
  )
    .addHelpText(
      'after',
      '\nExamples:\n  $ lovage revoke 4f3c0a52-6f0e-4f2e-9c1d-0b1f6a3a7d11\n  $ lovage revoke 4f3c0a52-6f0e-4f2e-9c1d-0b1f6a3a7d11 --terminate --json',
    )
    .action(revoke);
}
