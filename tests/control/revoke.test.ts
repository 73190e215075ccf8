/** Revoking on the memory broker. */
import { randomUUID } from 'node:crypto';
import { revokeSuite } from './revoke-cases.js';

revokeSuite('memory', async () => {
  const url = `memory:revoking-${randomUUID().slice(0, 8)}`;
  return { brokerUrl: url, resultUrl: url, withdraws: true, records: true, close: async () => {} };
});
