/** Events of a worker in memory and in a file; the cases are in events-cases.ts; and in every pool. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { eventsSuite } from './events-cases.js';
import { openHarness, POOLS } from './harness.js';

let numbers = 0;
const next = (): string => `events-${(numbers += 1)}`;

eventsSuite('memory', async () => ({ url: () => `memory:${next()}`, close: async () => {} }));

eventsSuite('file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-events-'));
  return {
    url: () => `file:${join(folder, `${next()}.db`)}`,
    close: async () => rmSync(folder, { recursive: true, force: true }),
  };
});

describe.each(POOLS)('in pool %s', (pool) => {
  test('events come from where the connections are, with -E from the first task on', async () => {
    const harness = await openHarness(pool);
    try {
      const stream = harness.tasks.app.events({ types: ['task-received', 'task-started', 'task-succeeded'] });
      await stream.ready;
      await harness.worker({ events: true, name: 'w1@here' });
      const { id } = await harness.tasks.add.send(2, 3);
      const heard: unknown[] = [];
      for await (const { type, uuid, hostname, result } of stream) if (heard.push([type, uuid, hostname, result]) === 3) break;
      expect(heard).toEqual([
        ['task-received', id, 'w1@here', undefined],
        ['task-started', id, 'w1@here', undefined],
        ['task-succeeded', id, 'w1@here', '5'],
      ]);
    } finally {
      await harness.close();
    }
  });
});
