/** Events: `enable_events`, `disable_events`, `heartbeat`; and `election`, in which a Lovage worker takes no part. */
import type { ControlCommand } from '../command.js';
import { ok } from '../command.js';

export const eventCommands: readonly ControlCommand[] = [
  {
    name: 'enable_events',
    run: (_args, { port }) => ok(port.events.enable() ? 'task events enabled' : 'task events already enabled'),
  },
  {
    name: 'disable_events',
    run: (_args, { port }) => ok(port.events.disable() ? 'task events disabled' : 'task events already disabled'),
  },
  {
    name: 'heartbeat',
    run(_args, { port }) {
      port.events.heartbeat();
      return null;
    },
  },
  // Celery's workers answer each other by events; who sends none is not waited for.
  { name: 'election', parameters: ['id', 'topic', 'action?'], open: true, run: () => null },
];
