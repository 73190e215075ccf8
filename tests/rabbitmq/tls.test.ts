/** RabbitMQ over TLS: who is believed, who is refused, and what those are told to do about it. */
import { createServer } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Broker } from '../../src/brokers/broker.js';
import { openRabbitmqBroker } from '../../src/brokers/rabbitmq/index.js';
import { silentLogger } from '../../src/core/logger.js';
import { createApp } from '../../src/index.js';
import { outgoing } from '../../src/testing/conformance/broker-kit.js';
import { startFaultProxy } from '../support/fault-proxy.js';
import { missingRabbitmq, type RabbitmqServer, startRabbitmq } from '../support/rabbitmq-server.js';
import { type Certificate, makeTlsFiles, opensslMissing, type TlsFiles } from '../support/tls-files.js';

const missing = missingRabbitmq() ?? opensslMissing();
if (missing && process.env['CI'] === 'true') throw new Error(missing);
const title = 'RabbitMQ over TLS';

describe.skipIf(missing !== null)(missing ? `${title} [skipped: ${missing}]` : title, () => {
  const opened: { close(): Promise<void> }[] = [];
  let files: TlsFiles;
  let ours: Certificate;
  /** A certificate for 127.0.0.1 and mq.test. */
  let server: RabbitmqServer;
  /** Wants a certificate of its clients, and its own has expired. */
  let strict: RabbitmqServer;

  beforeAll(async () => {
    files = makeTlsFiles();
    ours = files.sign('client', 'DNS:client.test');
    server = await startRabbitmq({ tls: { ca: files.ca, ...files.sign('server', 'IP:127.0.0.1,DNS:mq.test') } });
    const expired = files.sign('expired', 'IP:127.0.0.1', { days: 0 });
    strict = await startRabbitmq({ tls: { ca: files.ca, ...expired, asksClients: true } });
  }, 150_000);
  afterEach(async () => {
    for (const thing of opened.splice(0)) await thing.close();
  });
  afterAll(async () => {
    for (const each of [server, strict]) await each?.stop();
    files?.remove();
  });

  const broker = async (url: string): Promise<Broker> => {
    const made = await openRabbitmqBroker({ url, logger: silentLogger, role: 'engine' });
    opened.push(made);
    return made;
  };
  const connect = async (url: string): Promise<void> => (await broker(url)).connect({ timeoutMs: 20_000 });
  const trusted = (url: string, more = ''): string => `${url}/?ssl_ca_certs=${files.ca}${more}`;

  test('carries tasks and results, large ones too', async () => {
    const app = createApp({ broker: trusted(server.tlsUrl), logger: silentLogger });
    opened.push(app);
    const length = app.fn('length', (text: string) => text.length);
    const worker = await app.worker({ pool: 'inline', logger: silentLogger });
    opened.unshift(worker);
    // it takes several records and several writes
    const handle = await length.send('x'.repeat(300_000));
    expect(await handle.result({ timeout: '30s' })).toBe(300_000);
  }, 60_000);

  test('takes the options under RabbitMQ’s names too', async () => {
    await connect(`${server.tlsUrl}/?cacertfile=${files.ca}&verify=verify_peer`);
  });

  test('asks for the name that the URL tells when the address is another', async () => {
    await connect(trusted(server.tlsUrl, '&servername=mq.test'));
  });

  test('shows a certificate of ours to a server that asks for one, and believes everybody where the URL says so', async () => {
    await connect(`${strict.tlsUrl}/?ssl_cert_reqs=none&ssl_certfile=${ours.cert}&ssl_keyfile=${ours.key}`);
  });

  const refusals: readonly (readonly [string, () => string, RegExp])[] = [
    ['an authority that nobody named', () => server.tlsUrl, /certificate is not trusted.*add ssl_ca_certs=FILE/],
    ['a certificate for another name', () => trusted(server.tlsUrl, '&servername=other.test'), /another name.*servername=NAME/],
    ['a certificate that has expired', () => trusted(strict.tlsUrl), /not valid now.*renew it/],
    [
      'a client without a certificate where one is asked for',
      () => `${strict.tlsUrl}/?ssl_cert_reqs=none`,
      /add ssl_certfile=FILE and ssl_keyfile=FILE/,
    ],
    ['TLS on a port that does not speak it', () => server.url.replace('amqp:', 'amqps:'), /without the second s/],
  ];
  test.each(refusals)('refuses %s, and says what to do', async (_, url, remedy) => {
    await expect(connect(url())).rejects.toMatchObject({
      code: 'E_BROKER_AUTH',
      message: expect.stringMatching(remedy),
    });
  });

  test('speaking no TLS to a port that wants it is told with the remedy', async () => {
    const refused = await broker(server.tlsUrl.replace('amqps:', 'amqp:'));
    await expect(refused.connect({ timeoutMs: 3_000 })).rejects.toMatchObject({
      code: 'E_BROKER_UNREACHABLE',
      message: expect.stringContaining('write amqps://'),
    });
  });

  test('a broker that goes away after it was reached is not taken for a wrong URL', async () => {
    const proxy = await startFaultProxy({ target: { host: '127.0.0.1', port: Number(new URL(server.url).port) } });
    const url = proxy.url(server.url);
    const lost = await broker(url);
    await lost.connect({ timeoutMs: 20_000 });
    await proxy.close();
    // as a load balancer does whose broker is gone
    const balancer = createServer((client) => client.resetAndDestroy());
    await new Promise<void>((resolve) => balancer.listen(Number(new URL(url).port), '127.0.0.1', resolve));
    try {
      // a reset was seen, not only that nobody listened before the balancer did
      await new Promise((resolve) => balancer.once('connection', resolve));
      await expect(lost.connect({ timeoutMs: 3_000 })).rejects.toMatchObject({
        code: 'E_BROKER_UNREACHABLE',
        message: expect.not.stringContaining('amqps://'),
      });
    } finally {
      balancer.close();
    }
  });

  test('a refused address is passed over while another is left', async () => {
    await connect(`${server.tlsUrl};${server.url}`);
  });

  test('a send that waits for a certificate to be mended was not sent, and tells why', async () => {
    const [failure] = await (await broker(server.tlsUrl)).publish([outgoing('q', 'never')], { timeoutMs: 3_000 });
    expect(failure).toMatchObject({ outcome: 'not-sent', message: expect.stringContaining('add ssl_ca_certs=FILE') });
  });
});
