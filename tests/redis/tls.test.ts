/** Redis over TLS: who is believed, who is refused, and what those are told to do about it. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { openRedisBroker } from '../../src/brokers/redis/index.js';
import { silentLogger } from '../../src/core/logger.js';
import { openRedisResults } from '../../src/results/redis/index.js';
import { bodyBytes, Collector, message, outgoing, sendIds, until } from '../../src/testing/conformance/broker-kit.js';
import { type RedisServer, redisMissing, startRedis } from '../support/redis-server.js';
import { type Certificate, makeTlsFiles, opensslMissing, type TlsFiles } from '../support/tls-files.js';

const missing = redisMissing() ?? opensslMissing();
if (missing && process.env['CI'] === 'true') throw new Error(missing);

describe.skipIf(missing !== null)(missing === null ? 'Redis over TLS' : `Redis over TLS (not run: ${missing})`, () => {
  const opened: { close(): Promise<void> }[] = [];
  let files: TlsFiles;
  let ours: Certificate;
  /** A certificate for 127.0.0.1 and redis.test. */
  let server: RedisServer;
  /** Wants a certificate of its clients. */
  let strict: RedisServer;
  let expired: RedisServer;
  let plain: RedisServer;

  beforeAll(async () => {
    files = makeTlsFiles();
    const theirs = files.sign('server', 'IP:127.0.0.1,DNS:redis.test');
    ours = files.sign('client', 'DNS:client.test');
    server = await startRedis({ tls: { ca: files.ca, ...theirs } });
    strict = await startRedis({ tls: { ca: files.ca, ...theirs, asksClients: true } });
    expired = await startRedis({ tls: { ca: files.ca, ...files.sign('expired', 'IP:127.0.0.1', { days: 0 }) } });
    plain = await startRedis();
  }, 60_000);
  afterEach(async () => {
    for (const thing of opened.splice(0)) await thing.close();
  });
  afterAll(async () => {
    for (const each of [server, strict, expired, plain]) await each?.stop();
    files?.remove();
  });

  const broker = async (url: string) => {
    const made = await openRedisBroker({ url, logger: silentLogger, role: 'engine' });
    opened.push(made);
    return made;
  };
  const trusted = (url: string, more = ''): string => `${url}?ssl_ca_certs=${files.ca}${more}`;

  test('carries messages, wake-ups, broadcasts and results', async () => {
    const url = trusted(server.url);
    const sender = await broker(url);
    const collector = await Collector.open(await broker(url), { q: 5 });
    await sendIds(sender, 'q', ['one']);
    await collector.got(1);
    // big: it takes several records and several writes
    const [failure] = await sender.publish(
      [{ to: { queue: 'q' }, message: message('two', { body: { encoding: 'utf8', data: 'x'.repeat(300_000) } }) }],
      { timeoutMs: 10_000 },
    );
    expect(failure).toBeNull();
    await collector.got(2);
    expect(bodyBytes(collector.delivery(1).message)).toHaveLength(300_000);
    const heard: string[] = [];
    await sender.listen('celeryev', '#', ({ routingKey }) => heard.push(routingKey));
    await sender.broadcast({ exchange: 'celeryev', routingKey: 'worker.online', message: message('event') });
    await until(() => heard.length > 0, 'the broadcast');
    const results = await openRedisResults({ url, logger: silentLogger, role: 'engine' });
    opened.push(results);
    const waited = results.wait('id', { signal: AbortSignal.timeout(10_000) });
    const meta = '{"status": "SUCCESS"}';
    await results.set([{ id: 'id', state: 'SUCCESS', meta, epoch: 0, ttlMs: 60_000, replyTo: null, correlationId: null }]);
    expect(await waited).toBe(meta);
  });

  test('asks for the name that the URL tells when the address is another', async () => {
    await (await broker(trusted(server.url, '&servername=redis.test'))).connect({ timeoutMs: 10_000 });
  });

  test('shows a certificate of ours to a server that asks for one', async () => {
    const url = trusted(strict.url, `&ssl_certfile=${ours.cert}&ssl_keyfile=${ours.key}`);
    await (await broker(url)).connect({ timeoutMs: 10_000 });
  });

  test('believes everybody where the URL says so', async () => {
    await (await broker(`${expired.url}?ssl_cert_reqs=none`)).connect({ timeoutMs: 10_000 });
  });

  const refusals: readonly (readonly [string, () => string, RegExp])[] = [
    ['an authority that nobody named', () => server.url, /certificate is not trusted.*add ssl_ca_certs=FILE/],
    ['a certificate for another name', () => trusted(server.url, '&servername=other.test'), /another name.*servername=NAME/],
    ['a certificate that has expired', () => trusted(expired.url), /not valid now.*renew it/],
    [
      'a client without a certificate where one is asked for',
      () => trusted(strict.url),
      /add ssl_certfile=FILE and ssl_keyfile=FILE/,
    ],
  ];
  test.each(refusals)('refuses %s, and says what to do', async (_, url, remedy) => {
    const refused = await broker(url());
    await expect(refused.connect({ timeoutMs: 20_000 })).rejects.toMatchObject({
      code: 'E_BROKER_AUTH',
      message: expect.stringMatching(remedy),
    });
  });

  test.each<readonly [string, () => string, string]>([
    ['TLS', () => plain.url.replace('redis:', 'rediss:'), 'write redis:// without the second s'],
    ['no TLS', () => server.url.replace('rediss:', 'redis:'), 'write rediss://'],
  ])('speaking %s to a port that does not understand it is told with the remedy', async (_, url, remedy) => {
    const refused = await broker(url());
    await expect(refused.connect({ timeoutMs: 5_000 })).rejects.toMatchObject({
      code: 'E_BROKER_UNREACHABLE',
      message: expect.stringContaining(remedy),
    });
  });

  test('a send that waits for a certificate to be mended was not sent, and tells why', async () => {
    const [failure] = await (await broker(server.url)).publish([outgoing('q', 'never')], { timeoutMs: 2_000 });
    expect(failure).toMatchObject({ outcome: 'not-sent', message: expect.stringContaining('add ssl_ca_certs=FILE') });
  });
});
