/**
 * One queue over TLS for both languages, on a server that wants a certificate of everybody: Celery by `broker_use_ssl` or by its URL, we
 * by ours. Which certificates are refused, and in what words, is in `tests/rabbitmq/tls.test.ts` and `tests/redis/tls.test.ts`.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLogger } from '../../src/core/logger.js';
import { type App, createApp, type RemoteTask, type Worker } from '../../src/index.js';
import { hasCelery, PythonClient, startPythonWorker } from '../support/celery.js';
import { startRabbitmq } from '../support/rabbitmq-server.js';
import { startRedis } from '../support/redis-server.js';
import { makeTlsFiles, type TlsFiles } from '../support/tls-files.js';

const VERSIONS = (['5.2', '5.6'] as const).filter((version) => hasCelery(version) || process.env.CI);
/** Python's `ssl.CERT_REQUIRED`. */
const CERT_REQUIRED = 2;
const WAIT = { timeout: '60s' } as const;

interface Place {
  readonly ours: { readonly broker: string; readonly results: string };
  readonly theirs: { readonly broker: string; readonly results: string; readonly environment: Readonly<Record<string, string>> };
  close(): Promise<void>;
}

async function openPlace(name: 'RabbitMQ' | 'Redis', files: TlsFiles): Promise<Place> {
  const tls = { ca: files.ca, ...files.sign('server', 'IP:127.0.0.1'), asksClients: true };
  const { cert, key } = files.sign('client', 'DNS:client.test');
  const options = `?ssl_ca_certs=${files.ca}&ssl_certfile=${cert}&ssl_keyfile=${key}`;
  if (name === 'Redis') {
    const redis = await startRedis({ tls });
    const ours = `${redis.url}${options}`;
    const theirs = `${ours}&ssl_cert_reqs=required`;
    return {
      ours: { broker: ours, results: ours },
      theirs: { broker: theirs, results: theirs, environment: {} },
      close: () => redis.stop(),
    };
  }
  const rabbitmq = await startRabbitmq({ tls });
  const broker = `${rabbitmq.tlsUrl}/${options}`;
  const ssl = { ca_certs: files.ca, certfile: cert, keyfile: key, cert_reqs: CERT_REQUIRED };
  const environment = { INTEROP_BROKER_SSL: JSON.stringify(ssl) };
  return {
    ours: { broker, results: `rpc:${broker}` },
    theirs: { broker: rabbitmq.tlsUrl.replace('amqps:', 'amqp:'), results: 'rpc://', environment },
    close: () => rabbitmq.stop(),
  };
}

describe.each(['RabbitMQ', 'Redis'] as const)('%s over TLS', (name) => {
  let files: TlsFiles;
  let place: Place;
  beforeAll(async () => {
    files = makeTlsFiles();
    place = await openPlace(name, files);
  }, 90_000);
  afterAll(async () => {
    await place?.close();
    files?.remove();
  }, 60_000);

  describe.each(VERSIONS)('shared with Celery %s', (version) => {
    const queue = `shared-${version}`;
    let client: PythonClient;
    let python: Awaited<ReturnType<typeof startPythonWorker>>;
    let app: App;
    let worker: Worker;
    let language: RemoteTask<[string], string>;
    /** Whose sends our worker has run. */
    const ran = new Set<string>();

    beforeAll(async () => {
      const { ours, theirs } = place;
      const pythonApp = { folder: new URL('.', import.meta.url).pathname, module: 'pyworker', queue: `${queue},python` };
      python = await startPythonWorker(version, theirs.broker, theirs.results, pythonApp, theirs.environment);
      app = createApp({ name: 'tls', ...ours, logger: silentLogger, sendTimeout: '60s' });
      const note = (sender: string): string => {
        ran.add(sender);
        return 'TypeScript';
      };
      language = app.fn('shared.language', note, { queue, params: ['sender'] });
      app.fn('ours.double', (value: number) => value * 2, { params: ['value'] });
      worker = await app.worker({
        pool: 'inline',
        name: `ts${version}@here`,
        queues: { [queue]: 4, ours: 4 },
        logger: silentLogger,
      });
      client = new PythonClient(version, theirs.broker, theirs.results, 'client.py', theirs.environment);
      expect(await client.start()).toContain(version);
    }, 120_000);
    afterAll(async () => {
      await worker?.close();
      await app?.close();
      await client?.close();
      await python?.stop();
    }, 60_000);

    test('a client of either language gets results of the other’s worker', { timeout: 120_000 }, async () => {
      const reply = await client.ask({ task: 'ours.double', args: [21], options: { queue: 'ours' }, timeout: 60 });
      expect(reply).toMatchObject({ state: 'SUCCESS', result: 42 });
      const add = app.remote<[number, number], number>('py.add', { queue: 'python' });
      expect(await (await add.send(2, 3)).result(WAIT)).toBe(5);
    });

    test('workers of both languages run what either client puts into one queue', { timeout: 180_000 }, async () => {
      // Each broker spreads as it likes over those who wait: how soon the second gets a share is not for us to say.
      const answered = new Set<string>();
      while (answered.size < 2) {
        const handles = await Promise.all(Array.from({ length: 8 }, () => language.send('ours')));
        for (const handle of handles) answered.add(await handle.result(WAIT));
      }
      expect([...answered].sort()).toEqual(['Python', 'TypeScript']);
      const theirs = { task: 'shared.language', args: ['theirs'], options: { queue } };
      const answers = new Set<unknown>();
      while (!ran.has('theirs') || !answers.has('Python')) {
        await client.ask({ send: Array.from({ length: 20 }, () => ({ ...theirs, options: { queue, ignore_result: true } })) });
        answers.add((await client.ask({ ...theirs, timeout: 60 })).result);
      }
      expect([...ran].sort()).toEqual(['ours', 'theirs']);
    });

    test('remote control reaches both, from both', { timeout: 60_000 }, async () => {
      const { answers } = await app.control.ping({ timeout: '20s', limit: 2 });
      const ours = [...answers.keys()];
      expect(ours.some((node) => node.startsWith(`py${version}@`))).toBe(true);
      expect(ours).toContain(`ts${version}@here`);
      const { nodes = [] } = await client.ask({ ping: 5 });
      expect(nodes.some((node) => node.startsWith(`py${version}@`))).toBe(true);
      expect(nodes).toContain(`ts${version}@here`);
    });
  });
});
