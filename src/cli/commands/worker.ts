/** `lovage worker`: runs an app file until it is asked to stop. The worker itself is `worker/worker.ts`. */
import { type Command, Option } from 'commander';
import type { ByteSize } from '../../core/byte-size.js';
import type { Duration } from '../../core/duration.js';
import { codeOf } from '../../core/errors.js';
import { exitNow } from '../../core/exit-now.js';
import { createLogger, type LogFormat, type LogLevel } from '../../core/log-output.js';
import { parseAppFile } from '../../worker/executor/load-app.js';
import { POOLS, type PoolName } from '../../worker/options.js';
import { type FileWorkerOptions, runWorkerFromFile } from '../../worker/worker.js';
import { startBeatThread } from '../beat-thread.js';
import { readConfigFile } from '../config-file.js';
import { exitCodeOf, REMEDIES, UsageError } from '../exit-codes.js';
import { appOption, duration, scale, size, wholeNumber } from '../options.js';
import { errorOf } from '../output.js';

interface WorkerFlags {
  readonly app?: string;
  readonly broker?: string;
  readonly results?: string;
  readonly queues?: string;
  readonly pool: PoolName;
  readonly threads?: number;
  readonly processes?: number;
  readonly autoscale?: { readonly max: number; readonly min: number };
  readonly maxTasksPerChild?: number;
  readonly maxMemoryPerChild?: ByteSize;
  readonly spare: boolean;
  readonly concurrency?: number;
  readonly name?: string;
  readonly grace: Duration;
  readonly lease: Duration;
  readonly softTimeLimit?: Duration;
  readonly timeLimit?: Duration;
  readonly unknownTaskPatience: Duration;
  readonly connectTries?: number;
  readonly healthPort?: number;
  readonly healthHost?: string;
  readonly heartbeatFile?: string;
  readonly events?: 'on-demand' | 'always' | 'off';
  readonly beat?: boolean;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
}

/** The worker's exit code. Its last log line names the cause, in the format of the others: a supervisor keeps nothing else. */
async function run(options: FileWorkerOptions, startBeat: (() => Promise<{ stop(): Promise<void> }>) | null): Promise<number> {
  try {
    const beat = await startBeat?.();
    const code = await runWorkerFromFile(options);
    await beat?.stop();
    return code;
  } catch (thrown) {
    const error = errorOf(thrown);
    const code = codeOf(thrown);
    const exitCode = exitCodeOf(thrown);
    const logger = createLogger({ level: options.logLevel ?? 'info', format: options.logFormat ?? 'auto' });
    const remedy = REMEDIES[exitCode];
    logger.error(
      code === undefined ? { exitCode, remedy, err: error } : { exitCode, code, remedy },
      `the worker ended: ${error.message}`,
    );
    // process.exit() would wait for the thread that cannot be ended.
    if (code === 'E_EXECUTOR_STUCK') exitNow(exitCode);
    return exitCode;
  }
}

export function defineWorker(command: Command): void {
  command
    .description('Runs the tasks of an app file until it is asked to stop.')
    .addOption(appOption())
    .option(
      '--queues <list>',
      "queues to consume: 'celery,slow', or with each one's share of the slots 'celery:40,slow:10' (default: the app's default queue)",
    )
    .addOption(new Option('--pool <pool>', 'where tasks run').choices(POOLS).default('threads'))
    .option('--threads <n>', 'worker threads (pool threads; default: 2)', wholeNumber(1))
    .option('--processes <n>', 'child processes (pool processes; default: 2)', wholeNumber(1))
    .option('--autoscale <max,min>', 'let the number of threads or processes follow the load, between min and max', scale)
    .option('--max-tasks-per-child <n>', 'replace a child after so many tasks (pool processes; default: never)', wholeNumber(1))
    .addOption(
      new Option(
        '--max-memory-per-child <size>',
        "replace a child that is larger after a task, for example '300MiB' (pool processes; default: never)",
      ).argParser(size),
    )
    .option('--no-spare', 'keep no child ready to take the place of another (pool processes)')
    .option(
      '--concurrency <n>',
      'tasks at once in all (default: the shares of the queues, at least 10 a thread or process)',
      wholeNumber(1),
    )
    .option('--name <name>', 'node name; %h is the host, %p the process id (default: lovage@%h)')
    .addOption(
      new Option('--grace <duration>', 'how long running tasks may finish after TERM or INT').argParser(duration).default('25s'),
    )
    .addOption(
      new Option('--lease <duration>', 'after a crash, others take over its tasks within this time')
        .argParser(duration)
        .default('15s'),
    )
    .addOption(
      new Option(
        '--soft-time-limit <duration>',
        'soft limit of tasks that have none: their signal aborts (default: none)',
      ).argParser(duration),
    )
    .addOption(
      new Option('--time-limit <duration>', 'hard limit of tasks that have none: they are ended (default: none)').argParser(
        duration,
      ),
    )
    .addOption(
      new Option('--unknown-task-patience <duration>', 'how long a task unknown here waits for a worker that knows it')
        .argParser(duration)
        .default('10m'),
    )
    .option('--connect-tries <n>', 'tries to reach the broker at the start, then exit 69 (default: for ever)', wholeNumber(1))
    .option('--health-port <port>', 'serve /livez, /readyz, /metrics and /report there; 0 takes any free port', wholeNumber(0))
    .option('--health-host <host>', 'address of the health server (default: 127.0.0.1)')
    .option('--heartbeat-file <path>', 'write this file every 5 s while the worker lives, for probes that look at its age')
    .addOption(
      new Option(
        '-E, --events [when]',
        "when to send events for monitors: on-demand (while somebody listens), always or off; -E alone means always (default: the app's own, on-demand)",
      )
        .choices(['on-demand', 'always', 'off'])
        .preset('always'),
    )
    .option('-B, --beat', 'run the schedules too, in a thread of its own: safe on every worker, one of all leads')
    .option('--broker <url>', "broker URL (default: the app's own)")
    .option('--results <url>', "result store URL (default: the app's own)")
    .addOption(
      new Option('--log-level <level>', 'least level to log')
        .choices(['debug', 'info', 'warn', 'error', 'silent'])
        .default('info'),
    )
    .addOption(
      new Option('--log-format <format>', 'auto: readable on a terminal, else JSON')
        .choices(['auto', 'json', 'human'])
        .default('auto'),
    )
    .addHelpText(
      'after',
      `
TERM or INT stops it: it takes nothing more, lets running tasks finish within --grace, hands the rest back and exits 0.
A second signal hurries. Logs go to standard error.

Examples:
  $ lovage worker --app ./tasks.ts
  $ lovage worker --app ./tasks.ts --queues celery:40,slow:10 --threads 4 --name w1@%h
  $ lovage worker --app ./tasks.ts --pool processes --processes 4 --max-memory-per-child 300MiB
  $ lovage worker --app ./tasks.ts --pool async --broker redis://localhost:6379/0`,
    )
    .action(async (flags: WorkerFlags) => {
      const file = await readConfigFile();
      const {
        app = file.app,
        broker = file.broker,
        results = file.results,
        queues,
        threads,
        processes,
        spare,
        concurrency,
        name,
        healthPort,
        healthHost,
        events,
        beat = false,
        ...rest
      } = flags;
      if (app === undefined)
        throw new UsageError('lovage worker needs an app file: --app ./tasks.ts, or LOVAGE_APP, or "app" in lovage.config.ts');
      if (healthHost !== undefined && healthPort === undefined)
        throw new UsageError('--health-host needs a port: add --health-port 8080');
      const { file: appFile, exportName } = parseAppFile(app);
      const urls = { ...(broker === undefined ? {} : { broker }), ...(results === undefined ? {} : { results }) };
      const { connectTries, logLevel, logFormat } = flags;
      const tries = connectTries === undefined ? {} : { connectTries };
      const startBeat = beat ? () => startBeatThread({ app, logLevel, logFormat, ...urls, ...tries }) : null;
      const options: FileWorkerOptions = {
        appFile,
        exportName,
        ...urls,
        ...(queues === undefined ? {} : { queues }),
        ...(threads === undefined ? {} : { threads }),
        ...(processes === undefined ? {} : { processes }),
        // Only its denial is a choice: left alone it is the pool's own default.
        ...(spare ? {} : { spare }),
        ...(concurrency === undefined ? {} : { concurrency }),
        ...(name === undefined ? {} : { name }),
        ...(healthPort === undefined
          ? {}
          : { health: { port: healthPort, ...(healthHost === undefined ? {} : { host: healthHost }) } }),
        ...(events === undefined ? {} : { events: events === 'on-demand' ? events : events === 'always' }),
        ...rest,
      };
      const code = await run(options, startBeat);
      // Whatever user code left open must not keep a stopped worker alive.
      process.exit(code);
    });
}
