/** Chains and chords on Redis; the cases are in chain-cases.ts and chord-cases.ts. */
import { startRedis } from '../support/redis-server.js';
import { type CanvasBroker, chainSuite } from './chain-cases.js';
import { chordSuite } from './chord-cases.js';
import { replaceSuite } from './replace-cases.js';
import { settleAllSuite } from './settle-all-cases.js';

async function redis(): Promise<CanvasBroker> {
  const server = await startRedis();
  return { brokerUrl: server.url, resultUrl: server.url, close: () => server.stop() };
}

chainSuite('redis', redis);
chordSuite('redis', redis);
settleAllSuite('redis', redis);
replaceSuite('redis', redis);
