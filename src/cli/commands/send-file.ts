/** `lovage send --file`: checks every line first and sends nothing if one is bad, then sends in batches. */
import { statSync } from 'node:fs';
import { ArgumentError, codeOf, LovageError, toError } from '../../core/errors.js';
import { encodeTaskMessage } from '../../wire/task-message.js';
import { type NamedCall, openClient } from '../client.js';
import { UsageError } from '../exit-codes.js';
import { type ConnectionFlags, resolveConnection } from '../options.js';
import { printJson, printLine, printNote, startProgress } from '../output.js';
import { readTaskFile, type TaskLine } from '../task-file.js';

export interface SendFileFlags extends ConnectionFlags {
  readonly file: string;
  readonly dryRun?: boolean;
  readonly fromLine: number;
}

const BATCH = 1_000;
/** How many bad lines are shown; all are counted. */
const SHOWN = 20;
const ANY_ID = '00000000-0000-4000-8000-000000000000';

interface Problem {
  readonly line: number;
  readonly error: Error;
}

interface NumberedCall {
  readonly line: number;
  readonly call: NamedCall;
}

class Problems {
  readonly shown: Problem[] = [];
  count = 0;
  add(problem: Problem): void {
    this.count += 1;
    if (this.shown.length < SHOWN) this.shown.push(problem);
  }
}

const asJson = ({ line, error }: Problem): Record<string, unknown> => ({
  line,
  code: codeOf(error) ?? null,
  message: error.message,
  outcome: (error as { outcome?: string }).outcome,
});

function tell(problems: Problems, flags: SendFileFlags): void {
  if (flags.json) return;
  for (const { line, error } of problems.shown) printNote(`${flags.file}:${line}: ${codeOf(error) ?? 'error'}: ${error.message}`);
  if (problems.count > problems.shown.length) printNote(`… and ${problems.count - problems.shown.length} more`);
}

function mustBeFile(file: string): void {
  const stat = statSync(file, { throwIfNoEntry: false });
  if (stat === undefined)
    throw new ArgumentError(
      'E_ARGUMENTS',
      `${file} does not exist: give a file with one task a line, for example {"task":"math.add","args":[2,3]}`,
    );
  // It is read twice: once to check, once to send.
  if (!stat.isFile()) throw new UsageError(`--file needs a regular file, and ${file} is none: save the tasks to a file first`);
}

export async function sendFile(flags: SendFileFlags): Promise<void> {
  mustBeFile(flags.file);
  const connection = await resolveConnection(flags, { app: true });
  const { config } = connection;
  const client = await openClient(connection, flags.dryRun ? 'read' : 'send');
  try {
    // Encoding finds what no look at the options can: size and values that cannot travel.
    const check = (call: NamedCall): void => {
      client.prepare(call);
      encodeTaskMessage(
        { task: call.task, id: ANY_ID, args: call.args, kwargs: call.kwargs },
        { nowMs: Date.now(), json: config.json, maxMessageBytes: config.maxMessageSize },
      );
    };
    const lines = (): AsyncGenerator<TaskLine> => readTaskFile(flags.file, 2 * config.maxMessageSize, check);

    const bad = new Problems();
    let total = 0;
    for await (const line of lines()) {
      if (line.line < flags.fromLine) continue;
      total += 1;
      if ('fault' in line) bad.add({ line: line.line, error: line.fault });
    }
    if (bad.count > 0) {
      tell(bad, flags);
      if (flags.json) printJson({ tasks: total, sent: 0, bad: bad.count, problems: bad.shown.map(asJson) });
      throw new ArgumentError(
        'E_ARGUMENTS',
        `${bad.count} of ${total} lines of ${flags.file} are bad; nothing was sent. Correct them (lovage send --file … --dry-run checks without sending)`,
      );
    }
    if (flags.dryRun)
      return flags.json ? printJson({ tasks: total, sent: 0, bad: 0 }) : printLine(`${total} tasks, all good; nothing was sent`);

    const progress = startProgress('sending', total, { silent: flags.json === true });
    const failed = new Problems();
    let sent = 0;
    /** For their dedupe keys. */
    let leftOut = 0;
    let last = 0;
    const flush = async (batch: readonly NumberedCall[]): Promise<void> => {
      const outcomes = await Promise.allSettled(batch.map(({ call }) => client.send(client.prepare(call), call)));
      for (const [index, outcome] of outcomes.entries()) {
        if (outcome.status === 'fulfilled' && outcome.value.deduplicated) leftOut += 1;
        else if (outcome.status === 'fulfilled') sent += 1;
        else failed.add({ line: (batch[index] as NumberedCall).line, error: toError(outcome.reason) });
      }
      last = batch[batch.length - 1]?.line ?? last;
      progress.update(sent + leftOut);
    };
    try {
      let batch: NumberedCall[] = [];
      for await (const line of lines()) {
        if (line.line < flags.fromLine) continue;
        if ('fault' in line)
          throw new ArgumentError(
            'E_ARGUMENTS',
            `${flags.file}:${line.line} changed while it was read; ${sent} tasks were sent, continue with --from-line ${last + 1}`,
          );
        batch.push(line);
        if (batch.length < BATCH) continue;
        await flush(batch);
        batch = [];
        // The broker is in trouble: more of the same would only make a longer list.
        if (failed.count > 0) break;
      }
      if (failed.count === 0 && batch.length > 0) await flush(batch);
    } finally {
      progress.end();
    }
    const known = leftOut > 0 && { deduplicated: leftOut };
    if (failed.count === 0) {
      if (flags.json) return printJson({ tasks: total, sent, ...known, bad: 0 });
      const others = known ? `, ${leftOut} left out: they were sent with the same dedupe keys before` : '';
      return printLine(`${sent} tasks sent${others}`);
    }
    tell(failed, flags);
    if (flags.json)
      printJson({ tasks: total, sent, ...known, failed: failed.count, problems: failed.shown.map(asJson), triedToLine: last });
    const first = failed.shown[0] as Problem;
    throw new LovageError(
      codeOf(first.error) ?? 'E_PUBLISH_FAILED',
      `${failed.count} tasks were not sent, the first from line ${first.line} (${first.error.message}); ${sent} were sent, and lines after ${last} were not tried: --from-line ${last + 1} continues there`,
      { cause: first.error },
    );
  } finally {
    await client.close();
  }
}
