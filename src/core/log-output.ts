/**
 * Our logger: pino, one JSON line an event, or a short human line when standard error is a terminal.
 * Writes are synchronous: a thread or process that is about to die must not lose its last line.
 */
import { writeSync } from 'node:fs';
import picocolors from 'picocolors';
import { pino } from 'pino';
import type { Logger } from './logger.js';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';
export type LogFormat = 'json' | 'human' | 'auto';

/** For a terminal only: by itself the library also colours when `CI` is set. */
const pc = picocolors.createColors(process.stderr.isTTY === true && !process.env.NO_COLOR);

const LEVEL_NAMES: Record<number, string> = {
  20: pc.dim('debug'),
  30: pc.green('info '),
  40: pc.yellow('warn '),
  50: pc.red('error'),
};

/** One readable line: time, level, message, then the fields. */
export function humanLine(json: string): string {
  const {
    level,
    time,
    msg,
    pid: _pid,
    hostname: _hostname,
    err,
    ...fields
  } = JSON.parse(json) as Record<string, unknown> & {
    level: number;
    time: number;
    msg?: string;
    err?: { stack?: string; message?: string };
  };
  const shown = Object.entries(fields)
    .map(([key, value]) => `${pc.dim(`${key}=`)}${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(' ');
  const clock = new Date(time).toISOString().slice(11, 23);
  const trailer = err ? `\n${err.stack ?? err.message ?? ''}` : '';
  return `${pc.dim(clock)} ${LEVEL_NAMES[level] ?? level} ${msg ?? ''} ${shown}${trailer}\n`;
}

/** Lines go to standard error so that standard output stays for answers. */
export function createLogger(
  options: { readonly level?: LogLevel; readonly format?: LogFormat; readonly fields?: object } = {},
): Logger {
  const human = options.format === 'human' || (options.format !== 'json' && process.stderr.isTTY === true);
  const write = (line: string): void => {
    const text = human ? humanLine(line) : line;
    for (let rest = Buffer.from(text); rest.length > 0; ) {
      try {
        rest = rest.subarray(writeSync(2, rest));
      } catch (error) {
        // EAGAIN: the reader of a pipe is slow; try again. Anything else (EPIPE): nobody reads, and a logger must not kill its process.
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') return;
      }
    }
  };
  return pino({ level: options.level ?? 'info', base: options.fields ?? {} }, { write });
}
