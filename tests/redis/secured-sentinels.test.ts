/** Sentinels and servers that speak TLS only and want passwords, each their own. */
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Broker } from '../../src/brokers/broker.js';
import { openRedisBroker } from '../../src/brokers/redis/index.js';
import { silentLogger } from '../../src/core/logger.js';
import { Collector, sendIds, until } from '../../src/testing/conformance/broker-kit.js';
import { type SentinelSet, startSentinels } from '../support/redis-sentinels.js';
import { redisMissing } from '../support/redis-server.js';
import { makeTlsFiles, opensslMissing, type TlsFiles } from '../support/tls-files.js';
import { sendSteadily } from './steady-sender.js';

const missing = redisMissing() ?? opensslMissing();
if (missing && process.env['CI'] === 'true') throw new Error(missing);

describe.skipIf(missing !== null)(missing === null ? 'secured sentinels' : `secured sentinels (not run: ${missing})`, () => {
  const opened: Broker[] = [];
  let files: TlsFiles;
  let set: SentinelSet;
  beforeAll(async () => {
    files = makeTlsFiles();
    const tls = { ca: files.ca, ...files.sign('server', 'IP:127.0.0.1') };
    set = await startSentinels({ tls, password: 'of-servers', sentinelPassword: 'of-sentinels' });
  }, 90_000);
  afterEach(async () => {
    for (const broker of opened.splice(0)) await broker.close();
  });
  afterAll(async () => {
    await set?.stop();
    files?.remove();
  });
  const brokerAt = async (url: string): Promise<Broker> => {
    const broker = await openRedisBroker({ url, logger: silentLogger, role: 'engine' });
    opened.push(broker);
    return broker;
  };

  test('name a primary, and the next one after a fail-over', async () => {
    const collector = await Collector.open(await brokerAt(set.url), { q: 5 }, { acking: true });
    const load = sendSteadily(await brokerAt(set.url), 'steady');
    await collector.atLeast(1);
    await set.failover();
    // by somebody new: who was there before may still be with the old primary, which throws away what it takes now
    await sendIds(await brokerAt(set.url), 'q', ['after']);
    await until(() => collector.ids.includes('after'), 'what was sent to the new primary');
    const seen = collector.arrivals.length;
    await until(() => collector.arrivals.length > seen + 5, 'what the first sender sends now');
    await load.stop();
    expect(load.failed).toEqual([]);
  }, 90_000);

  test.each([
    ['the sentinels’ password is wrong', 'of-sentinels', 'wrong', 'sentinel_password'],
    ['the servers’ password is wrong', 'of-servers', 'wrong', 'refused the credentials'],
    ['nobody named the authority', /&ssl_ca_certs=[^&]*/, '', 'add ssl_ca_certs=FILE'],
  ])('tell what to do when %s', async (_, right, wrong, remedy) => {
    const printed = vi.spyOn(console, 'error').mockImplementation(() => {});
    const broker = await brokerAt(set.url.replace(right, wrong));
    await expect(broker.connect({ timeoutMs: 8_000 })).rejects.toMatchObject({
      code: 'E_BROKER_AUTH',
      message: expect.stringContaining(remedy),
    });
    await broker.close();
    expect(printed.mock.calls).toEqual([]);
    printed.mockRestore();
  });
});
