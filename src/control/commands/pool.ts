/** The pool: `pool_grow`, `pool_shrink`, `pool_restart`, `autoscale`. */
import type { ControlCommand } from '../command.js';
import { CommandError, nok, numberOf, ok } from '../command.js';
import { PoolError } from '../worker-port.js';

/** More at a time was a slip of the finger. */
const MOST_AT_ONCE = 10_000;

export const poolCommands: readonly ControlCommand[] = [
  {
    name: 'pool_grow',
    parameters: ['n?'],
    open: true,
    run: ({ n = 1 }, { port }) => resized('pool will grow', () => port.pool.grow(numberOf(n, 'n', 1, MOST_AT_ONCE))),
  },
  {
    name: 'pool_shrink',
    parameters: ['n?'],
    open: true,
    run: ({ n = 1 }, { port }) => resized('pool will shrink', () => port.pool.shrink(numberOf(n, 'n', 1, MOST_AT_ONCE))),
  },
  {
    name: 'pool_restart',
    parameters: ['modules?', 'reload?', 'reloader?'],
    open: true,
    run() {
      throw new CommandError('ValueError', 'Pool restarts not enabled');
    },
  },
  {
    name: 'autoscale',
    parameters: ['max?', 'min?'],
    run({ max, min }, { port }) {
      const bound = (value: unknown, name: string, least: number): number | null =>
        value === null || value === undefined ? null : numberOf(value, name, least, MOST_AT_ONCE);
      const now = port.pool.autoscale(bound(max, 'max', 1), bound(min, 'min', 0));
      return ok(`autoscale now max=${now.max} min=${now.min}`);
    },
  },
];

/** A pool that cannot says so in words, as Celery's does under autoscale. */
function resized(text: string, resize: () => void): object {
  try {
    resize();
  } catch (error) {
    if (error instanceof PoolError) return nok(error.message);
    throw error;
  }
  return ok(text);
}
