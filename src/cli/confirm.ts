/** Asking before something is done that cannot be undone. */
import { createInterface } from 'node:readline/promises';
import { UsageError } from './exit-codes.js';

/**
 * Whether somebody at the terminal says yes; true at once with `--yes`.
 * @param call before the question is made: who cannot be asked must say `--yes`, and `why` tells
 * @throws UsageError without a terminal to ask on
 */
export function mustConfirm(
  flags: { readonly yes?: boolean | undefined; readonly json?: boolean | undefined },
  why: string,
): (question: string) => Promise<boolean> {
  if (flags.yes) return async () => true;
  const interactive = process.stdin.isTTY === true && process.stderr.isTTY === true && !flags.json;
  if (!interactive) throw new UsageError(`${why}: without a terminal to ask on, it needs --yes`);
  return async (question) => {
    const terminal = createInterface({ input: process.stdin, output: process.stderr });
    try {
      return /^y(es)?$/i.test((await terminal.question(`${question} [y/N] `)).trim());
    } finally {
      terminal.close();
    }
  };
}
