/** Asking fifty workers: all answer, and nobody waits out the timeout for it. One suite, run by a file for each broker that counts its listeners. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { App } from '../../src/app/app.js';
import { silentLogger } from '../../src/core/logger.js';
import { createApp } from '../../src/index.js';
import { type Crowd, gather } from './crowd.js';

const NODES = 50;
/** What would be waited for if the end were not noticed; and the time that a busy machine may take at most. */
const TIMEOUT = '60s';
const AT_MOST_MS = 10_000;

export interface CrowdBroker {
  readonly url: string;
  /** The URL of a node that shares nothing with others in this process. */
  nodeUrl(index: number): string;
  close(): Promise<void>;
}

export function crowdSuite(name: string, open: () => Promise<CrowdBroker>): void {
  describe(`fifty nodes on ${name}`, { timeout: 60_000 }, () => {
    let broker: CrowdBroker;
    let crowd: Crowd;
    let app: App;
    beforeAll(async () => {
      broker = await open();
      crowd = await gather(NODES, (index) => broker.nodeUrl(index));
      app = createApp({ name: 'crowd', broker: broker.url, results: 'memory:', logger: silentLogger });
    }, 120_000);
    afterAll(async () => {
      await app?.close();
      await crowd?.close();
      await broker?.close();
    });

    test('all answer, from the first question on, long before the timeout', async () => {
      const took: number[] = [];
      for (let round = 0; round < 5; round += 1) {
        const startedMs = performance.now();
        const { answers, complete, heardBy } = await app.control.ping({ timeout: TIMEOUT });
        took.push(performance.now() - startedMs);
        expect([[...answers.keys()].sort(), complete, heardBy]).toEqual([crowd.names, true, NODES]);
      }
      expect(Math.max(...took)).toBeLessThan(AT_MOST_MS);
    });

    test('one of them answers alone, and so do those that a pattern means', async () => {
      const startedMs = performance.now();
      const destination = crowd.names.slice(7, 9);
      const few = await app.control.registered([], { timeout: TIMEOUT, destination });
      expect([...few.answers.keys()].sort()).toEqual(destination);
      const some = await app.control.ping({ timeout: TIMEOUT, pattern: 'node0*' });
      expect([...some.answers.keys()].sort()).toEqual(crowd.names.slice(0, 10));
      expect(performance.now() - startedMs).toBeLessThan(AT_MOST_MS);
    });
  });
}
