/** `lovage queues list | peek | backup`, and the frame of the others: single messages are in `queue-messages.ts`, pauses in `control/pauses.ts`. */
import type { Command } from 'commander';
import type { Broker, Peeked } from '../../brokers/broker.js';
import type { DeadTotals } from '../../brokers/dead-letters.js';
import { BrokerError } from '../../core/errors.js';
import { decodeTaskBody } from '../../wire/task-message.js';
import { defineGroup } from '../command-group.js';
import { defineQueuePauses } from '../control/pauses.js';
import { letters } from '../dead-filter.js';
import { UsageError } from '../exit-codes.js';
import {
  addConnectionOptions,
  allNamed,
  type ConnectionFlags,
  named,
  resolveConnection,
  wholeNumber,
  withBroker,
} from '../options.js';
import { formatTable, printJson, printLine, printNote, shorten, startProgress } from '../output.js';
import { defineQueueMessages } from './queue-messages.js';

/** Dead letters by queue, where they can be looked at without taking them out; else only how many there are. */
async function countDead({ deadLetters, capabilities }: Broker): Promise<{ count: number; queues: DeadTotals['queues'] | null }> {
  return capabilities.peek === true ? deadLetters.totals() : { count: await deadLetters.count(), queues: null };
}

async function list(names: readonly string[], flags: ConnectionFlags): Promise<void> {
  const { depths, dead, pauses } = await withBroker(await resolveConnection(flags), async (broker) => ({
    pauses: await broker.pauses.list(),
    depths: await broker.depth(names.length > 0 ? names : await broker.queues()),
    dead: await countDead(broker),
  }));
  const paused = new Set(pauses.filter(({ kind }) => kind === 'queue').map(({ name }) => name));
  const rows = depths.map((depth) => ({
    ...depth,
    dead: dead.queues && (dead.queues.get(depth.queue) ?? 0),
    paused: paused.has(depth.queue),
  }));
  if (flags.json) return printJson(rows);
  if (dead.count > 0) printNote(`${letters(dead.count)} in all: lovage dead list`);
  if (rows.length === 0)
    return printNote('no queues: none was declared yet, or this broker cannot list them (name them: lovage queues list QUEUE…)');
  const cell = (count: number | null): string => (count === null ? '?' : String(count));
  printLine(
    formatTable(
      ['QUEUE', 'READY', 'DELAYED', 'HELD BY WORKERS', 'DEAD'],
      rows.map((row) => [
        `${shorten(row.queue, 60)}${row.paused ? ' (paused)' : ''}`,
        row.ready,
        cell(row.delayed),
        cell(row.unacked),
        cell(row.dead),
      ]),
      [1, 2, 3, 4],
    ),
  );
}

/** A peeked message for machines: headers as they are, the body decoded if it can be. */
function describe(peeked: Peeked, position: number): Record<string, unknown> {
  if ('garbage' in peeked)
    return { position, garbage: Buffer.from(peeked.garbage.subarray(0, 4_096)).toString('base64'), bytes: peeked.garbage.length };
  const { headers, properties } = peeked.message;
  const notBefore = peeked.notBeforeMs === null ? null : new Date(peeked.notBeforeMs).toISOString();
  const shared = { position, id: headers.id ?? null, task: headers.task ?? null, notBefore, headers, properties };
  try {
    const { args, kwargs } = decodeTaskBody(peeked.message);
    return { ...shared, args, kwargs };
  } catch (error) {
    return { ...shared, undecodable: (error as Error).message };
  }
}

function peekRow(peeked: Peeked, position: number): (string | number)[] {
  if ('garbage' in peeked) {
    return [
      position,
      '(no message)',
      `${peeked.garbage.length} bytes`,
      shorten(Buffer.from(peeked.garbage.subarray(0, 64)).toString('latin1'), 50),
      '',
    ];
  }
  const { headers } = peeked.message;
  const text = (value: unknown): string => (typeof value === 'string' ? value : '');
  const args = [text(headers.argsrepr), text(headers.kwargsrepr)]
    .filter((part) => part !== '' && part !== '()' && part !== '[]' && part !== '{}')
    .join(' ');
  return [
    position,
    shorten(text(headers.id), 36),
    shorten(text(headers.task), 40),
    shorten(args, 50),
    peeked.notBeforeMs === null ? 'now' : new Date(peeked.notBeforeMs).toISOString(),
  ];
}

async function peek(queue: string, flags: ConnectionFlags & { readonly limit: number }): Promise<void> {
  const found = await withBroker(await resolveConnection(flags), async (broker) => {
    const can = broker.capabilities.peek;
    if (can !== true)
      throw new BrokerError(
        'E_NOT_SUPPORTED',
        `the ${broker.name} broker cannot show messages: ${can}. "lovage queues list" shows how many wait`,
      );
    return broker.peek(queue, flags.limit);
  });
  if (flags.json) return printJson(found.map((peeked, index) => describe(peeked, index + 1)));
  if (found.length === 0) return printNote(`nothing waits in queue ${queue}`);
  printLine(
    formatTable(
      ['#', 'ID', 'TASK', 'ARGUMENTS', 'NOT BEFORE'],
      found.map((peeked, index) => peekRow(peeked, index + 1)),
      [0],
    ),
  );
}

async function backup(destination: string, flags: ConnectionFlags): Promise<void> {
  const { config } = await resolveConnection(flags);
  if (!/^file:/i.test(config.brokerUrl)) {
    throw new UsageError(
      'lovage queues backup copies the file of a file: broker; for Redis and RabbitMQ use their own tools (BGSAVE, rabbitmqctl export_definitions)',
    );
  }
  const { backupFile } = await import('../../brokers/file/index.js');
  const progress = startProgress('copying', 100, { silent: flags.json === true });
  try {
    await backupFile(config.brokerUrl, destination, (share: number) => progress.update(Math.floor(share * 100)));
  } finally {
    progress.end();
  }
  if (flags.json) printJson({ backup: destination });
  else printLine(`copied to ${destination}`);
}

export function defineQueues(command: Command): void {
  defineGroup(command);
  addConnectionOptions(
    command
      .command('list')
      .summary('how much waits in which queue')
      .description('Shows how many messages are ready, delayed, held by workers, and parked as dead letters.')
      .argument('[queues...]', 'queues to show; all that the broker knows by default', allNamed),
    { results: false },
  )
    .addHelpText(
      'after',
      '\nExamples:\n  $ lovage queues list\n  $ lovage queues list celery slow --broker redis://localhost:6379/0 --json',
    )
    .action(list);
  addConnectionOptions(
    command
      .command('peek')
      .summary('the next messages of a queue, without touching them')
      .description('Shows the next messages of a queue in the order in which they would be served. They stay where they are.')
      .argument('<queue>', 'the queue', named)
      .option('--limit <n>', 'how many', wholeNumber(1), 10),
    { results: false },
  )
    .addHelpText('after', '\nExamples:\n  $ lovage queues peek lovage --limit 3\n  $ lovage queues peek lovage --json | jq .')
    .action(peek);
  defineQueueMessages(command);
  defineQueuePauses(command);
  addConnectionOptions(
    command
      .command('backup')
      .summary('copy the queue file while it is in use')
      .description(
        'Copies the file of a file: broker while workers use it. The copy is consistent and can be opened like the original.',
      )
      .argument('<file>', 'where to write the copy; must not exist'),
    { results: false },
  )
    .addHelpText('after', '\nExamples:\n  $ lovage queues backup ./backup/queue.db --broker file:./.lovage/queue.db')
    .action(backup);
}
