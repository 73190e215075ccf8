/** Limits of tasks, changed while they run: `rate_limit`, `time_limit`. */
import { codeOf } from '../../core/errors.js';
import { pythonRepr } from '../../wire/python-repr.js';
import type { CommandArgs, CommandContext, ControlCommand } from '../command.js';
import { CommandError, nok, ok, textOf } from '../command.js';

/** A day in seconds, 100 of them: longer is none. */
const LONGEST_S = 8_640_000;

export const limitCommands: readonly ControlCommand[] = [
  { name: 'rate_limit', parameters: ['task_name', 'rate_limit'], open: true, run: rateLimit },
  {
    name: 'time_limit',
    parameters: ['task_name?', 'hard?', 'soft?'],
    open: true,
    run(args, { port, logger }) {
      const task = textOf(args, 'task_name');
      const limits = { softMs: secondsOf(args.soft, 'soft'), hardMs: secondsOf(args.hard, 'hard') };
      if (!port.setTimeLimits(task, limits)) return nok('unknown task');
      logger.info({ task, ...limits }, 'time limits were set by remote control');
      return ok('time limits set successfully');
    },
  },
];

function rateLimit(args: CommandArgs, { port, logger }: CommandContext): object {
  const task = textOf(args, 'task_name');
  // command lines send numbers as text
  const given = args.rate_limit;
  const limit = typeof given === 'string' && /^\s*\d+(?:\.\d+)?\s*$/.test(given) ? Number(given) : given;
  let holds: string | null | undefined;
  try {
    holds = port.rateLimits.set(task, limit);
  } catch (error) {
    if (codeOf(error) !== 'E_CONFIG_RANGE') throw error;
    return nok(`Invalid rate limit string: ValueError(${pythonRepr((error as Error).message)})`);
  }
  if (holds === undefined) return nok('unknown task');
  logger.info({ task, rateLimit: holds }, 'a rate limit was set by remote control');
  return ok(holds === null ? 'rate limit disabled successfully' : 'new rate limit set successfully');
}

/** Seconds to milliseconds; none and 0 are no limit. @throws CommandError */
function secondsOf(value: unknown, name: string): number | null {
  if (value === null || value === undefined || value === 0) return null;
  const seconds = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  if (typeof seconds === 'number' && seconds > 0 && seconds <= LONGEST_S) return Math.max(1, Math.round(seconds * 1_000));
  throw new CommandError('ValueError', `${name} must be a number of seconds from 0 to ${LONGEST_S}, not ${pythonRepr(value)}`);
}
