/** `lovage report`: what a running worker knows of itself, asked over its health port. The worker makes it (`worker/engine/health/vitals.ts`). */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { type Duration, durationMs, formatMs } from '../../core/duration.js';
import { LovageError, toError } from '../../core/errors.js';
import type { TaskRunTimes, WorkerReport } from '../../core/worker-report.js';
import { duration, wholeNumber } from '../options.js';
import { formatTable, printJson, printLine, shorten, visible } from '../output.js';

interface ReportFlags {
  readonly url: URL;
  readonly timeout: Duration;
  readonly limit: number;
  readonly json?: boolean;
}

/** A report of a thousand names has a third of this. */
const MAX_BYTES = 1_048_576;

function healthUrl(text: string): URL {
  const url = /^https?:\/\//i.test(text) ? text : `http://${text}`;
  if (!URL.canParse(url))
    throw new InvalidArgumentError("It must be the address of a worker's health port, for example http://127.0.0.1:8080.");
  return new URL('/report', url);
}

function unreachable(url: URL, why: string, cause?: unknown): LovageError {
  return new LovageError(
    'E_WORKER_UNREACHABLE',
    `no worker answers at ${url.origin}: ${why}. Was it started with --health-port, and may this machine reach it?`,
    cause === undefined ? undefined : { cause },
  );
}

async function readBody(url: URL, response: Response): Promise<string> {
  let text = '';
  const decoder = new TextDecoder();
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk as Uint8Array, { stream: true });
    if (text.length > MAX_BYTES) throw unreachable(url, 'the answer is too long to be a report');
  }
  return text;
}

async function fetchReport(url: URL, timeoutMs: number): Promise<WorkerReport> {
  let response: Response;
  let text: string;
  try {
    response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs) });
    text = await readBody(url, response);
  } catch (thrown) {
    if (thrown instanceof LovageError) throw thrown;
    const error = toError(thrown);
    const late = error.name === 'TimeoutError';
    throw unreachable(url, late ? `nothing within ${formatMs(timeoutMs)}` : toError(error.cause ?? error).message, error);
  }
  let report: Partial<WorkerReport> | null = null;
  try {
    report = JSON.parse(text) as Partial<WorkerReport>;
  } catch {
    // said below
  }
  if (response.status !== 200 || !Array.isArray(report?.tasks) || !Array.isArray(report.findings))
    throw unreachable(url, `something else does (status ${response.status})`);
  return report as WorkerReport;
}

function showTasks(tasks: readonly TaskRunTimes[], limit: number): void {
  const time = (ms: number): string => (ms < 10 ? `${Number(ms.toFixed(1))}ms` : formatMs(ms));
  const rows = tasks
    .slice(0, limit)
    .map((row) => [
      ...[shorten(row.queue, 30), shorten(row.task, 50), row.runs, row.failures, row.retries],
      ...[time(row.meanMs), time(row.p50Ms), time(row.p99Ms), row.lateMeanMs === null ? '' : time(row.lateMeanMs)],
    ]);
  const head = ['QUEUE', 'TASK', 'RUNS', 'FAILED', 'RETRIED', 'MEAN', 'P50', 'P99', 'LATE'];
  printLine(formatTable(head, rows, [2, 3, 4, 5, 6, 7, 8]));
  if (tasks.length > limit) printLine(`and ${tasks.length - limit} more; --limit shows them`);
}

function show(report: WorkerReport, limit: number): void {
  const state = report.ready ? 'ready' : `not ready: ${report.notReady.map(({ message }) => message).join('; ')}`;
  const uptime = formatMs(Math.round(report.uptimeMs / 1_000) * 1_000);
  printLine(visible(`${report.name}: ${state}`));
  printLine(
    `up ${uptime}, ${report.active} of ${report.slots} slots taken, ${report.executors} executors (${report.blockedExecutors} blocked)`,
  );
  const counts = Object.entries(report.counters).filter(([, count]) => count > 0);
  printLine(visible(counts.length === 0 ? 'no task yet' : counts.map(([name, count]) => `${name} ${count}`).join(', ')));
  if (report.tasks.length > 0) {
    printLine('');
    showTasks(report.tasks, limit);
  }
  printLine('');
  if (report.findings.length === 0) printLine('Nothing odd was found.');
  for (const { text } of report.findings) printLine(visible(`! ${text}`));
}

async function run({ url, timeout, limit, json }: ReportFlags): Promise<void> {
  const report = await fetchReport(url, durationMs(timeout, '--timeout'));
  if (json) printJson(report);
  else show(report, limit);
}

export function defineReport(command: Command): void {
  command
    .description(
      'Shows what a running worker knows of itself: whether it takes tasks and if not why, how long each task takes, and what a person should look into.',
    )
    .addOption(
      new Option('--url <url>', "the worker's health port")
        .argParser(healthUrl)
        .default(healthUrl('http://127.0.0.1:8080'), 'http://127.0.0.1:8080'),
    )
    .addOption(new Option('--limit <n>', 'how many tasks, the most time-consuming first').argParser(wholeNumber(1)).default(20))
    .addOption(new Option('--timeout <duration>', 'how long to wait for the answer').argParser(duration).default('5s'))
    .option('--json', 'print JSON for machines')
    .addHelpText(
      'after',
      `
The worker must have been started with --health-port. Asking costs the broker nothing.

Examples:
  $ lovage report
  $ lovage report --url http://127.0.0.1:8081 --json`,
    )
    .action(run);
}
