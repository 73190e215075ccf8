/**
 * The file broker's operations inside a transaction, put together from `store-messages.ts` (in, and looking),
 * `hand-out.ts` (pop, settle, leases), `dead-operations.ts`, `waiting.ts`, `pauses.ts` and `broadcasts.ts`. Loaded by an engine directly and by a writer thread through
 * its address. See `clients/sqlite/schema.ts` for the tables and their one invariant.
 */
import type { OperationModule, PrepareOperations } from '../../clients/sqlite/operations.js';
import { broadcastOperations } from './broadcasts.js';
import { deadOperations } from './dead-operations.js';
import { handOutOperations } from './hand-out.js';
import { LapsedLeases } from './lapsed-leases.js';
import { MessageTable } from './message-table.js';
import { pauseOperations } from './pauses.js';
import { storeOperations } from './store-messages.js';
import { waitingOperations } from './waiting.js';

export const prepareOperations: PrepareOperations = (connection, context) => {
  const table = new MessageTable(connection, context);
  const lapsed = new LapsedLeases();
  return {
    calls: {
      ...storeOperations(connection, context, table),
      ...handOutOperations(connection, context, table, lapsed),
      ...deadOperations(connection, table),
      ...waitingOperations(connection, table),
      ...pauseOperations(connection),
      ...broadcastOperations(connection, context),
    },
    beforeCommit: () => table.flush(),
    afterRollback: () => {
      table.forget();
      lapsed.rolledBack();
    },
  };
};

export const brokerOperations: OperationModule = { name: 'broker', prepareOperations, href: import.meta.url };
