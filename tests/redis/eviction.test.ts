/** A Redis that throws data away: it is said when a worker starts, and when it happens. */
import { expect, test } from 'vitest';
import type { Consumer } from '../../src/brokers/broker.js';
import { type Logger, silentLogger } from '../../src/core/logger.js';
import { sendIds, until, untilWall } from '../../src/testing/conformance/broker-kit.js';
import { type RedisKit, redisSuite } from './redis-kit.js';

interface Watched {
  readonly consumer: Consumer;
  readonly warnings: string[];
}

async function consuming(kit: RedisKit): Promise<Watched> {
  const warnings: string[] = [];
  const logger: Logger = { ...silentLogger, warn: (_fields, text) => void warnings.push(text ?? '') };
  const broker = await kit.broker(kit.server.url, logger);
  let isUp = false;
  const consumer = await broker.consume({
    queues: [{ name: 'q', credit: 1 }],
    credit: 1,
    leaseMs: 500,
    consumerName: 'w@h',
    logger,
    onArrivals: () => {},
    onLost: () => {},
    onState: (state) => {
      isUp = state === 'connected';
    },
  });
  await until(() => isUp, 'the connection');
  await until(async () => (await kit.admin.exists('lovage:canary')) === 1, 'the canary');
  // a sweep has seen it
  await untilWall(Date.now() + 1_200);
  return { consumer, warnings };
}

const about = (warnings: readonly string[], text: string): string[] => warnings.filter((warning) => warning.includes(text));

redisSuite(
  'a Redis that evicts',
  (kit) => {
    test('is named at the start, once, however often the connection is made anew', async () => {
      const { consumer, warnings } = await consuming(kit);
      expect(about(warnings, 'maxmemory-policy allkeys-lru')).toHaveLength(1);
      expect(warnings[0]).toContain('waiting tasks');
      for (let round = 0; round < 2; round += 1) {
        const before = consumer.lastAliveMs();
        const own = await kit.admin.client('ID');
        for (const [, id] of ((await kit.admin.client('LIST')) as string).matchAll(/^id=(\d+) .*name=lovage:/gm))
          if (Number(id) !== own) await kit.admin.client('KILL', 'ID', Number(id));
        await until(() => consumer.lastAliveMs() > before + 1, 'the next connection');
      }
      expect(about(warnings, 'maxmemory-policy allkeys-lru')).toHaveLength(1);
      expect(consumer.warnings?.()).toEqual([expect.stringContaining('maxmemory-policy allkeys-lru')]);
    });

    test('is not spoken of by who only sends', async () => {
      const warnings: string[] = [];
      const broker = await kit.broker(kit.server.url, {
        ...silentLogger,
        warn: (_fields, text) => void warnings.push(text ?? ''),
      });
      await sendIds(broker, 'q', ['x']);
      expect(warnings).toEqual([]);
    });

    test('is found out when it has evicted: the key that nothing touches goes among the first', async () => {
      const { consumer, warnings } = await consuming(kit);
      const used = Number(/used_memory:(\d+)/.exec(await kit.admin.info('memory'))?.[1]);
      await kit.admin.config('SET', 'maxmemory-samples', '20');
      await kit.admin.config('SET', 'maxmemory', String(used + 2_000_000));
      try {
        let written = 0;
        await until(
          async () => {
            written += 1;
            await kit.admin.set(`cache:${written % 1_000}`, 'x'.repeat(50_000));
            return about(warnings, 'has vanished').length > 0;
          },
          'the warning',
          20_000,
        );
        expect(about(warnings, 'evicts keys (its maxmemory-policy is allkeys-lru)').length).toBeGreaterThan(0);
        expect(consumer.warnings?.()).toContainEqual(expect.stringContaining('has vanished'));
      } finally {
        await kit.admin.config('SET', 'maxmemory', '0');
      }
    }, 60_000);
  },
  { args: ['--maxmemory-policy', 'allkeys-lru'] },
);

redisSuite('a Redis that keeps everything', (kit) => {
  test('is not warned of', async () => {
    const { consumer, warnings } = await consuming(kit);
    expect(warnings).toEqual([]);
    expect(consumer.warnings?.()).toEqual([]);
  });

  test('and was flushed: it is said', async () => {
    const { warnings } = await consuming(kit);
    await kit.admin.flushall();
    await until(() => about(warnings, 'its database was flushed').length === 1, 'the warning');
  });

  test('but not on disk, and was started again: it is said', async () => {
    const { warnings } = await consuming(kit);
    await kit.server.kill9();
    await kit.server.restart();
    await until(() => about(warnings, 'came back without the keys').length === 1, 'the warning');
  });
});
