/** Chords: `chords_due`, a command of ours. Whoever opens chords that are due before workers look tells them so. */
import { CHORDS_DUE } from '../../results/chord-deadlines.js';
import { type ControlCommand, numberOf } from '../command.js';

export const chordCommands: readonly ControlCommand[] = [
  {
    name: CHORDS_DUE,
    parameters: ['at'],
    open: true,
    run({ at }, { port }) {
      port.chordsDue(numberOf(at, 'at', 0, Number.MAX_SAFE_INTEGER));
      return null;
    },
  },
];
