/** `lovage beat`: runs the schedules of an app file until it is asked to stop. The scheduler itself is `beat/beat.ts`. */
import { type Command, Option } from 'commander';
import { startBeat } from '../../beat/beat.js';
import { codeOf, toError } from '../../core/errors.js';
import { createLogger, type LogFormat, type LogLevel } from '../../core/log-output.js';
import { exitCodeOf, REMEDIES, UsageError } from '../exit-codes.js';
import { appOption, resolveConnection, wholeNumber } from '../options.js';

interface BeatFlags {
  readonly app?: string;
  readonly broker?: string;
  readonly results?: string;
  readonly name?: string;
  readonly connectTries?: number;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
}

async function run(flags: BeatFlags): Promise<number> {
  const { app: file, broker, results, name, connectTries = null, logLevel, logFormat } = flags;
  const logger = createLogger({ level: logLevel, format: logFormat });
  const stop = new AbortController();
  let crash!: (error: Error) => void;
  const crashed = new Promise<never>((_, reject) => {
    crash = reject;
  });
  crashed.catch(() => {});
  const asked = new Promise<void>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const)
      process.on(signal, () => {
        logger.info({ signal }, 'beat: asked to stop');
        stop.abort(new Error('asked to stop'));
        resolve();
      });
  });
  const onCrash = (thrown: unknown): void => crash(toError(thrown));
  process.on('uncaughtException', onCrash).on('unhandledRejection', onCrash);
  // An idle scheduler has only timers that would not keep a process alive.
  const alive = setInterval(() => {}, 3_600_000);
  try {
    const urls = { ...(broker !== undefined && { broker }), ...(results !== undefined && { results }) };
    const connection = await resolveConnection(
      { ...urls, ...(file !== undefined && { app: file }), timeout: '5s' },
      { app: true },
    );
    const { app, config } = connection;
    if (app === null)
      throw new UsageError('lovage beat needs an app file: --app ./tasks.ts, or LOVAGE_APP, or "app" in lovage.config.ts');
    const named = name === undefined ? {} : { name };
    const beat = await Promise.race([startBeat({ app, config, logger, connectTries, signal: stop.signal, ...named }), crashed]);
    await Promise.race([asked, crashed]);
    await beat.close();
    logger.info({ exitCode: 0 }, 'beat stopped: another scheduler leads at once, if there is one');
    return 0;
  } catch (thrown) {
    if (stop.signal.aborted && thrown === stop.signal.reason) return 0;
    const error = toError(thrown);
    const code = codeOf(thrown);
    const exitCode = exitCodeOf(thrown);
    const remedy = REMEDIES[exitCode];
    logger.error(
      code === undefined ? { exitCode, remedy, err: error } : { exitCode, code, remedy },
      `beat ended: ${error.message}`,
    );
    return exitCode;
  } finally {
    clearInterval(alive);
  }
}

export function defineBeat(command: Command): void {
  command
    .description('Sends the tasks of an app by its schedules. Any number may run: one leads, the others stand by.')
    .addOption(appOption())
    .option('--broker <url>', "broker URL (default: the app's own)")
    .option('--results <url>', "result store URL (default: the app's own)")
    .option('--name <name>', 'shown to the others while this one leads (default: beat-PID@HOST)')
    .option('--connect-tries <n>', 'tries to reach the store at the start, then exit 69 (default: for ever)', wholeNumber(1))
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
Start as many as you like, or none and "lovage worker --beat" on every worker: each slot runs once. A second one says that
it stands by, and takes over within five seconds when the leader dies. TERM or INT stops it with exit code 0.

Examples:
  $ lovage beat --app ./tasks.ts
  $ lovage worker --app ./tasks.ts --beat`,
    )
    .action(async (flags: BeatFlags) => {
      // Whatever user code left open must not keep a stopped scheduler alive.
      process.exit(await run(flags));
    });
}
