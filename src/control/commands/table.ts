/** All remote commands by name. A new one: its definition in a file of its family, its family here. */
import type { ControlCommand } from '../command.js';
import { chordCommands } from './chords.js';
import { clockCommands } from './clock.js';
import { eventCommands } from './events.js';
import { limitCommands } from './limits.js';
import { pauseCommands } from './pauses.js';
import { poolCommands } from './pool.js';
import { queueCommands } from './queues.js';
import { revokeCommands } from './revoke.js';
import { taskCommands } from './tasks.js';
import { workerCommands } from './worker.js';

/** By name and alias. */
export const COMMANDS: ReadonlyMap<string, ControlCommand> = new Map(
  [
    ...clockCommands,
    ...taskCommands,
    ...workerCommands,
    ...revokeCommands,
    ...limitCommands,
    ...poolCommands,
    ...queueCommands,
    ...pauseCommands,
    ...chordCommands,
    ...eventCommands,
  ].flatMap((command): [string, ControlCommand][] => [
    [command.name, command],
    ...(command.alias === undefined ? [] : [[command.alias, command] as [string, ControlCommand]]),
  ]),
);
