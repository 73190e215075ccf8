/** Chords that meet a fault, on Redis; the cases are in chord-faults.ts. */
import { startRedis } from '../support/redis-server.js';
import { chordFaultsSuite } from './chord-faults.js';

chordFaultsSuite('redis', async () => {
  const server = await startRedis({ durable: true });
  return {
    brokerUrl: server.url,
    resultUrl: server.url,
    block: async () => {
      server.pause();
      return () => server.resume();
    },
    // a silent connection is given up after 2.5 s
    deaths: 3,
    blockMs: { quick: 3_000, full: 10_000 },
    restart: async () => {
      await server.kill9();
      await server.restart();
    },
    close: () => server.stop(),
  };
});
