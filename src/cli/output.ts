/**
 * What people and machines see: tables, JSON, errors, and a progress bar. Answers go to standard output, everything
 * else to standard error, so that a pipe gets only the answer.
 */
import Table from 'cli-table3';
import picocolors from 'picocolors';
import { codeOf, toError } from '../core/errors.js';
import { UsageError } from './exit-codes.js';

/** Colours for a terminal only: by itself the library also colours what a build server or `FORCE_COLOR`-less pipe gets when `CI` is set. */
const pc = picocolors.createColors(process.stdout.isTTY === true && !process.env.NO_COLOR);

/** Values that JSON has no form for are written as text, so that `--json` never throws. */
function jsonSafe(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint')
    return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : String(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  return value;
}

/** One line of JSON on standard output. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, jsonSafe)}\n`);
}

export function printLine(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** A remark for people, on standard error. */
export function printNote(text: string): void {
  process.stderr.write(`${text}\n`);
}

const PLAIN_BORDERS = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
}; // prettier-ignore

/** A table without borders; columns of numbers are given in `right`. Works with `cut`, `awk` and eyes. */
export function formatTable(
  head: readonly string[],
  rows: readonly (readonly (string | number)[])[],
  right: readonly number[] = [],
): string {
  const table = new Table({
    head: head.map((name) => pc.bold(name)),
    chars: PLAIN_BORDERS,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
    colAligns: head.map((_, index) => (right.includes(index) ? 'right' : 'left')),
  });
  for (const row of rows) table.push(row.map(String));
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

/** Control characters as escapes, so that text from a message or a task cannot drive the terminal. */
function escapeControl(text: string, kept: string): string {
  return text.replace(/\p{Cc}/gu, (char) => {
    if (kept.includes(char)) return char;
    return char === '\n' ? '\\n' : char === '\t' ? '\\t' : `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

/** Text of several lines that is safe to print. */
export function visible(text: string): string {
  return escapeControl(text, '\n\t');
}

/** Text of one line, cut to `length` characters with an ellipsis, safe to print. */
export function shorten(text: string, length: number): string {
  const shown = escapeControl(text.slice(0, length + 1), '');
  return shown.length > length ? `${shown.slice(0, length - 1)}…` : shown;
}

/** A thrown value as an error; errors of ours that crossed a thread are plain objects with `code` and `message`. */
export function errorOf(thrown: unknown): Error {
  if (thrown instanceof Error || typeof thrown !== 'object' || thrown === null) return toError(thrown);
  const { message, ...rest } = thrown as { readonly message?: unknown };
  return typeof message === 'string' ? Object.assign(new Error(message), rest) : toError(thrown);
}

/** An error for people, or one line of JSON; on standard error either way. A stack only where the error is not one of ours. */
export function printError(thrown: unknown, json: boolean): void {
  const error = errorOf(thrown);
  const code = codeOf(thrown) ?? null;
  if (json) {
    const { type, outcome, taskId } = error as { readonly type?: unknown; readonly outcome?: unknown; readonly taskId?: unknown };
    printNote(
      JSON.stringify(
        {
          error: { code: code ?? (error instanceof UsageError ? 'usage' : null), message: error.message, type, outcome, taskId },
        },
        jsonSafe,
      ),
    );
    return;
  }
  const expected = code !== null || error instanceof UsageError;
  printNote(`${pc.red('error:')} ${visible(expected ? error.message : (error.stack ?? error.message))}`);
  if (code !== null) printNote(pc.dim(`${code}, see docs/reference/errors.md`));
}

export interface Progress {
  update(done: number): void;
  /** Takes the bar away, or ends the last line. */
  end(): void;
}

const BAR_WIDTH = 28;
const REPAINT_MS = 100;
const LINE_EVERY_MS = 5_000;

/**
 * A progress bar on standard error; without a terminal a line every 5 s instead. `total` may be wrong (queues move):
 * the bar never goes over its end.
 */
export function startProgress(
  label: string,
  total: number,
  options: { readonly silent?: boolean; readonly stream?: NodeJS.WriteStream } = {},
): Progress {
  const stream = options.stream ?? process.stderr;
  if (options.silent) return { update() {}, end() {} };
  const tty = stream.isTTY === true;
  let lastMs = tty ? -Infinity : performance.now();
  let painted = false;
  const text = (done: number): string => {
    const share = total > 0 ? Math.min(done / total, 1) : 1;
    const filled = Math.round(share * BAR_WIDTH);
    const bar = tty ? ` ${pc.green('█'.repeat(filled))}${pc.dim('░'.repeat(BAR_WIDTH - filled))}` : '';
    return `${label}${bar} ${done} of ${Math.max(total, done)} (${Math.floor(share * 100)} %)`;
  };
  return {
    update(done) {
      const nowMs = performance.now();
      if (nowMs - lastMs < (tty ? REPAINT_MS : LINE_EVERY_MS)) return;
      lastMs = nowMs;
      painted = true;
      stream.write(tty ? `\r\x1b[K${text(done)}` : `${text(done)}\n`);
    },
    end() {
      if (tty && painted) stream.write('\r\x1b[K');
    },
  };
}
