/** What a worker is: `stats`, `conf`, `report`, its memory, and its end: `shutdown`. */
import { arch, release, type as systemName } from 'node:os';
import { packageVersion } from '../../core/version.js';
import { pythonRepr } from '../../wire/python-repr.js';
import { brokerInfo } from '../broker-info.js';
import type { CommandContext, ControlCommand } from '../command.js';
import { CommandError, isTruthy, NO_REPLY, ok } from '../command.js';

const LONGEST_SETTING = 1_024;

export const workerCommands: readonly ControlCommand[] = [
  { name: 'stats', open: true, run: (_args, context) => stats(context) },
  {
    name: 'conf',
    alias: 'dump_conf',
    parameters: ['with_defaults?'],
    open: true,
    run: ({ with_defaults: all }, { port }) => port.settings(isTruthy(all)),
  },
  { name: 'report', run: (_args, context) => ok(report(context)) },
  { name: 'memsample', open: true, run: () => formatMegabytes(process.memoryUsage.rss()) },
  {
    name: 'memdump',
    parameters: ['samples?'],
    open: true,
    run() {
      throw new CommandError(
        'NotImplementedError',
        'a Lovage worker keeps no samples of its memory: its /metrics page has process_resident_memory_bytes',
      );
    },
  },
  {
    name: 'objgraph',
    parameters: ['num?', 'max_depth?', 'type?'],
    run() {
      throw new CommandError(
        'NotImplementedError',
        'objgraph is for Python: start the worker with node --heapsnapshot-signal=SIGUSR2 and send it that signal',
      );
    },
  },
  {
    name: 'shutdown',
    parameters: ['msg?'],
    open: true,
    run({ msg }, { port }) {
      port.shutdown(typeof msg === 'string' ? msg : 'Got shutdown from remote');
      return NO_REPLY;
    },
  },
];

function stats({ port, clock }: CommandContext): object {
  const { totals, uptimeMs, pool, slots, pids, tasksPerExecutor, timeLimitMs, softTimeLimitMs, brokerUrl } = port.figures();
  return {
    total: totals,
    pid: process.pid,
    clock: String(clock.value),
    uptime: Math.round(uptimeMs / 1_000),
    pool: {
      implementation: `lovage:${pool}`,
      'max-concurrency': slots,
      processes: pids,
      'max-tasks-per-child': tasksPerExecutor ?? 'N/A',
      'put-guarded-by-semaphore': false,
      timeouts: [(softTimeLimitMs ?? 0) / 1_000, (timeLimitMs ?? 0) / 1_000],
    },
    broker: brokerInfo(brokerUrl),
    // credit: a Lovage worker fetches what it has slots for, and nothing ahead
    prefetch_count: slots,
    rusage: resources(),
  };
}

/** Python's names of what the system counts for this process. */
function resources(): object {
  const used = process.resourceUsage();
  return {
    utime: used.userCPUTime / 1_000_000,
    stime: used.systemCPUTime / 1_000_000,
    maxrss: used.maxRSS,
    ixrss: used.sharedMemorySize,
    idrss: used.unsharedDataSize,
    isrss: used.unsharedStackSize,
    minflt: used.minorPageFault,
    majflt: used.majorPageFault,
    nswap: used.swappedOut,
    inblock: used.fsRead,
    oublock: used.fsWrite,
    msgsnd: used.ipcSent,
    msgrcv: used.ipcReceived,
    nsignals: used.signalsCount,
    nvcsw: used.voluntaryContextSwitches,
    nivcsw: used.involuntaryContextSwitches,
  };
}

/** In the form of `celery report`. */
function report({ port }: CommandContext): string {
  const settings = Object.entries(port.settings(false)).map(([name, value]) => `${name}: ${pythonRepr(value, LONGEST_SETTING)}`);
  return [
    '',
    `software -> lovage:${packageVersion()} node:${process.versions.node} v8:${process.versions.v8}`,
    `platform -> system:${systemName()} arch:${arch()}`,
    `            kernel version:${release()} imp:Node.js`,
    `settings -> pool:${port.figures().pool} queues:${port.queues().join(',')}`,
    '',
    ...settings,
    '',
  ].join('\n');
}

/** As Celery prints it: `50.51MB`. */
function formatMegabytes(bytes: number): string {
  return `${(bytes / 1_048_576).toFixed(2)}MB`;
}
