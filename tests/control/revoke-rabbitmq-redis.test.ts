/** Revoking on RabbitMQ: with results on Redis, where the records lie, and with `rpc:`, which has no place for them. */
import { expect, test } from 'vitest';
import { silentLogger } from '../../src/core/logger.js';
import { createApp } from '../../src/index.js';
import { startRabbitmq } from '../support/rabbitmq-server.js';
import { startRedis } from '../support/redis-server.js';
import { revokeSuite } from './revoke-cases.js';

revokeSuite('RabbitMQ with results on Redis', async () => {
  const [rabbitmq, redis] = await Promise.all([startRabbitmq(), startRedis()]);
  return {
    ...{ brokerUrl: rabbitmq.url, resultUrl: redis.url, withdraws: false, records: true },
    close: async () => void (await Promise.all([rabbitmq.stop(), redis.stop()])),
  };
});

test('with results by rpc: a revoke says that only those who listen know of it', { timeout: 90_000 }, async () => {
  const rabbitmq = await startRabbitmq();
  const results = `rpc:${rabbitmq.url}`;
  const app = createApp({ name: 'rpc', broker: rabbitmq.url, results, logger: silentLogger, sendTimeout: '30s' });
  try {
    const ran: string[] = [];
    const note = app.fn('note', (key: string): string => {
      ran.push(key);
      return key;
    });
    const worker = await app.worker({ pool: 'inline', concurrency: 2, logger: silentLogger });
    // The ladder of delays takes a busy broker longer to make than the others wait.
    expect(await (await note.with({ countdown: '100ms' }).send('first')).result({ timeout: '30s' })).toBe('first');
    const doomed = await note.with({ countdown: '6s' }).send('doomed');
    const other = await note.with({ countdown: '6s' }).send('other');
    expect(await doomed.revoke()).toBe('broadcast-only');
    // Its sender is told by the worker that drops it.
    await expect(doomed.result({ timeout: '30s' })).rejects.toMatchObject({ code: 'E_TASK_REVOKED' });
    expect(await other.result({ timeout: '30s' })).toBe('other');
    expect(ran).toEqual(['first', 'other']);
    await worker.close();
  } finally {
    await app.close();
    await rabbitmq.stop();
  }
});
