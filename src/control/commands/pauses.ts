/** Pauses: `pauses_changed`, a command of ours. Who changed them has written them down in the broker; here they are read again. */
import type { ControlCommand } from '../command.js';
import { PAUSES_CHANGED } from '../pauses.js';

export const pauseCommands: readonly ControlCommand[] = [
  // Further arguments may come with later versions.
  { name: PAUSES_CHANGED, open: true, run: (_args, { port }) => port.refreshPauses() },
];
