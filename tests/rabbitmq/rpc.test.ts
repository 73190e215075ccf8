/** `rpc:` results: how many queues they cost, and that they end with their client. */
import { expect, test } from 'vitest';
import { silentLogger } from '../../src/core/logger.js';
import { createApp } from '../../src/index.js';
import { uniqueQueue } from '../../src/testing/conformance/broker-kit.js';
import { onPrivateNode } from './private-node.js';

onPrivateNode('rpc results on RabbitMQ', (node) => {
  const replyQueues = (): { readonly name: string; readonly messages: number }[] =>
    (
      JSON.parse(node.server.ctl('list_queues', 'name', 'messages', '--formatter', 'json')) as {
        readonly name: string;
        readonly messages: number;
      }[]
    ).filter(({ name }) => name.startsWith('lovage.reply.'));

  test('1,000 sends of one app, alone and in batches, share one reply queue, which close() deletes', async () => {
    const defaultQueue = uniqueQueue('rpc');
    const app = createApp({ broker: node.server.url, defaultQueue, sendTimeout: '30s', logger: silentLogger });
    const task = app.fn('rpc.echo', (x: number) => x);
    const worker = await app.worker({ pool: 'inline', logger: silentLogger });
    try {
      const alone = await Promise.all(Array.from({ length: 500 }, (_, index) => task.send(index)));
      const together = await task.sendMany(Array.from({ length: 500 }, (_, index) => ({ args: [500 + index] as [number] })));
      const results = await Promise.all([...alone, ...together].map((handle) => handle.result({ timeout: '60s' })));
      expect(results).toEqual(Array.from({ length: 1_000 }, (_, index) => index));
      // the last acknowledgements leave once this process has its turn
      await expect.poll(replyQueues, { timeout: 10_000 }).toEqual([{ name: expect.any(String), messages: 0 }]);
    } finally {
      await worker.close();
      await app.close();
    }
    expect(replyQueues()).toEqual([]);
  }, 120_000);
});
