/** A Redis Cluster: the node that has our slot is found, followed when the slot moves or the node dies, and nothing is lost. */
import { afterEach, describe, expect, test } from 'vitest';
import type { Broker } from '../../src/brokers/broker.js';
import { openRedisBroker } from '../../src/brokers/redis/index.js';
import { defineScript, RedisConnection } from '../../src/clients/redis.js';
import { parseRedisUrl } from '../../src/clients/redis-url.js';
import { silentLogger } from '../../src/core/logger.js';
import { createApp, taskContext } from '../../src/index.js';
import { openRedisResults } from '../../src/results/redis/index.js';
import type { ResultStore } from '../../src/results/result-store.js';
import { Collector, message, outgoing, sendIds, until, untilWall } from '../../src/testing/conformance/broker-kit.js';
import { guideUser } from '../support/redis-acl.js';
import { type ClusterOptions, type RedisCluster, startCluster } from '../support/redis-cluster.js';
import { redisMissing, startRedis } from '../support/redis-server.js';
import { makeTlsFiles, opensslMissing } from '../support/tls-files.js';
import { sendSteadily } from './steady-sender.js';

const missing = redisMissing();
if (missing && process.env['CI'] === 'true') throw new Error(missing);

const PREFIX = '{shop}:';

const metaOf = (id: string): string => JSON.stringify({ status: 'SUCCESS', result: null, task_id: id });
const resultOf = (id: string): Parameters<ResultStore['set']>[0][number] => ({
  ...{ id, state: 'SUCCESS', meta: metaOf(id), epoch: 0, ttlMs: 60_000, replyTo: null, correlationId: null },
});

describe.skipIf(missing !== null)(missing === null ? 'a Redis Cluster' : `a Redis Cluster (not run: ${missing})`, () => {
  const opened: { close(): Promise<void> }[] = [];
  const started: { stop(): Promise<void> }[] = [];
  afterEach(async () => {
    for (const thing of opened.splice(0)) await thing.close();
    for (const thing of started.splice(0)) await thing.stop();
  }, 30_000);
  const cluster = async (options?: ClusterOptions): Promise<RedisCluster> => {
    const made = await startCluster(options);
    started.push(made);
    return made;
  };
  const brokerAt = async (url: string): Promise<Broker> => {
    const broker = await openRedisBroker({ url, logger: silentLogger, role: 'engine' });
    opened.push(broker);
    return broker;
  };
  const resultsAt = async (url: string): Promise<ResultStore> => {
    const store = await openRedisResults({ url, logger: silentLogger, role: 'engine' });
    opened.push(store);
    return store;
  };

  test('has everything of an app on one node, and says that Celery cannot share it', async () => {
    const made = await cluster();
    const url = made.url(PREFIX);
    const [sending, consuming, store] = [await brokerAt(url), await brokerAt(url), await resultsAt(url)];
    expect(sending.capabilities.celery).toContain('Celery cannot use a Redis Cluster');
    const heard: string[] = [];
    await consuming.listen('celery.pidbox', '', ({ message: { headers } }) => heard.push(String(headers['id'])));
    const collector = await Collector.open(consuming, { q: 20, r: 20 }, { acking: true });
    await sendIds(sending, 'q', ['a', 'b']);
    await sendIds(sending, 'r', ['c']);
    await sending.publish([{ ...outgoing('q', 'later'), notBeforeMs: Date.now() + 1_000 }], { timeoutMs: 10_000 });
    await collector.got(4);
    const waited = store.wait('id', { signal: AbortSignal.timeout(10_000) });
    await store.set([resultOf('id'), resultOf('id2')]);
    expect(await waited).toBe(metaOf('id'));
    expect(await sending.broadcast({ exchange: 'celery.pidbox', routingKey: '', message: message('event') })).toBe(1);
    await until(() => heard.includes('event'), 'the broadcast');
  }, 60_000);

  test('is followed while the slot moves to another node under load, and nothing is lost or left behind', async () => {
    const made = await cluster();
    const url = made.url(PREFIX);
    const [sending, consuming, store] = [await brokerAt(url), await brokerAt(url), await resultsAt(url)];
    await store.set(Array.from({ length: 50 }, (_, number) => resultOf(`old${number}`)));
    await sending.publish([{ ...outgoing('q', 'later'), notBeforeMs: Date.now() + 8_000 }], { timeoutMs: 10_000 });
    const collector = await Collector.open(consuming, { q: 20 }, { acking: true, leaseMs: 10_000 });
    const loads = Array.from({ length: 3 }, (_, number) => sendSteadily(sending, `moved${number}`));
    const confirmed = (): string[] => loads.flatMap((load) => load.confirmed);
    await until(() => confirmed().length > 30, 'the first sends');
    const old = await made.owner(PREFIX);

    // half of the keys are on either node for a second and a half, while everybody goes on trying
    await made.move(PREFIX, () => untilWall(Date.now() + 1_500));
    expect(await made.owner(PREFIX)).not.toBe(old);
    const [sent, seen] = [confirmed().length, collector.arrivals.length];
    await until(() => confirmed().length > sent + 30 && collector.arrivals.length > seen + 30, 'the new owner to be used');
    expect(await store.get(['old0', 'old49'])).toEqual([metaOf('old0'), metaOf('old49')]);
    await Promise.all(loads.map((load) => load.stop()));
    expect(loads.flatMap((load) => load.failed)).toEqual([]);
    await until(() => [...confirmed(), 'later'].every((id) => collector.ids.includes(id)), 'every confirmed send', 30_000);
    expect(await sending.deadLetters.count()).toBe(0);
    expect(await sending.depth(['q'])).toMatchObject([{ ready: 0, delayed: 0 }]);
  }, 120_000);

  test('runs no script on keys of which some have moved', async () => {
    const made = await cluster();
    const connection = new RedisConnection({ target: parseRedisUrl(made.url(PREFIX)), name: 'suite', logger: silentLogger });
    opened.push(connection);
    await connection.whenReady(10_000);
    const keys = Array.from({ length: 20 }, (_, number) => `${PREFIX}${number}`);
    await connection.call(
      'mset',
      keys.flatMap((key) => [key, 'whole']),
    );
    // as some of ours do, it makes up the name of a second key
    const script = defineScript("redis.call('SET', KEYS[1], 'half') return redis.call('SET', KEYS[1] .. ':more', 'x')");
    const run = (key: string): Promise<unknown> => connection.run(script, [script.sha, '1', key]);
    // from now on the node knows it
    expect(String(await run(`${PREFIX}other`))).toBe('OK');
    await made.move(PREFIX, async () => {
      const ends = await Promise.allSettled(keys.map(run));
      // refused for now: whoever asked asks again
      for (const end of ends)
        expect(end).toMatchObject({ status: 'rejected', reason: { code: 'E_CONNECTION_LOST', sent: false } });
    });
    await connection.whenReady(10_000);
    expect(String(await connection.call('mget', keys))).toBe(keys.map(() => 'whole').join(','));
    for (const key of keys) expect(String(await run(key))).toBe('OK');
  }, 60_000);

  test('loses nothing that was confirmed with wait_replicas=1 when its master dies', async () => {
    const made = await cluster({ replicaFor: PREFIX });
    const url = made.url(PREFIX);
    const [sending, consuming] = [await brokerAt(`${url}&wait_replicas=1`), await brokerAt(url)];
    const store = await resultsAt(url);
    const collector = await Collector.open(consuming, { q: 20 }, { acking: true, leaseMs: 5_000 });
    const load = sendSteadily(sending, 'killed');
    await until(() => load.confirmed.length > 30, 'the first sends');
    const old = await made.owner(PREFIX);
    await old.kill9();
    await made.promoted(PREFIX);
    const plain = await brokerAt(url);
    await sendIds(plain, 'q', ['mark']);
    await until(() => collector.ids.includes('mark'), 'consumption', 20_000);
    expect(await store.set([resultOf('after')])).toEqual(['stored']);
    // the dead one comes back as a replica, and the sends that waited are confirmed
    const before = load.confirmed.length;
    await old.restart();
    await until(() => load.confirmed.length > before + 10, 'sends confirmed by the new replica', 30_000);
    await load.stop();
    expect(load.failed).toEqual([]);
    await until(() => load.confirmed.every((id) => collector.ids.includes(id)), 'every confirmed send', 30_000);
  }, 120_000);

  test('is found although the first node of the URL does not answer', async () => {
    const made = await cluster();
    const owner = await made.owner(PREFIX);
    const stopped = made.servers.find((server) => server !== owner);
    stopped?.pause();
    const broker = await brokerAt(`redis+cluster://127.0.0.1:${stopped?.port},127.0.0.1:${owner.port}/?prefix=${PREFIX}`);
    await broker.connect({ timeoutMs: 10_000 });
    stopped?.resume();
  }, 60_000);

  test('is noticed to have moved the slot by a worker that has nothing to do', async () => {
    const made = await cluster();
    const url = made.url(PREFIX);
    const idle = await Collector.open(await brokerAt(url), { q: 20 }, { acking: true, leaseMs: 2_000 });
    await sendIds(await brokerAt(url), 'q', ['before']);
    await idle.got(1);
    await made.move(PREFIX);
    await sendIds(await brokerAt(url), 'q', ['after']);
    await until(() => idle.ids.includes('after'), 'the message at the new owner', 25_000);
  }, 60_000);

  test.skipIf(opensslMissing() !== null)(
    'speaks TLS, and tells what is refused',
    async () => {
      const files = makeTlsFiles();
      started.push({ stop: async () => files.remove() });
      const tls = { ca: files.ca, ...files.sign('node', 'IP:127.0.0.1') };
      const made = await cluster({ tls, args: guideUser('shop', 'secret', PREFIX).concat('+cluster|slots', '+cluster|keyslot') });
      const url = made.url(PREFIX).replace('://', '://shop:secret@');
      const collector = await Collector.open(await brokerAt(url), { q: 20 });
      await sendIds(await brokerAt(url), 'q', ['one']);
      await collector.got(1);
      for (const [wrong, remedy] of [
        [url.replace(/&ssl_ca_certs=[^&]*/, ''), 'add ssl_ca_certs=FILE'],
        [url.replace('secret', 'guess'), 'refused the credentials'],
      ] as const)
        await expect((await brokerAt(wrong)).connect({ timeoutMs: 15_000 })).rejects.toMatchObject({
          code: 'E_BROKER_AUTH',
          message: expect.stringContaining(remedy),
        });
    },
    60_000,
  );

  test('runs the tasks of an app, later and again too, and its workers answer', async () => {
    const made = await cluster();
    const app = createApp({ name: 'clustered', broker: made.url(PREFIX), logger: silentLogger });
    opened.push(app);
    const add = app.fn('add', (x: number, y: number) => x + y);
    const flaky = app.fn(
      'flaky',
      () => {
        const { attempt } = taskContext();
        if (attempt === 1) throw new Error('once more');
        return attempt;
      },
      { retry: { max: 2, base: '50ms', backoff: 'fixed', jitter: 'none' } },
    );
    const worker = await app.worker({ pool: 'inline', name: 'w1@cluster', logger: silentLogger });
    opened.unshift(worker);
    expect(await (await add.send(2, 3)).result({ timeout: '20s' })).toBe(5);
    expect(await (await add.with({ countdown: '1s' }).send(4, 5)).result({ timeout: '20s' })).toBe(9);
    expect(await (await flaky.send()).result({ timeout: '20s' })).toBe(2);
    expect([...(await app.control.ping({ timeout: '10s' })).answers.keys()]).toEqual(['w1@cluster']);
  }, 60_000);

  test('and a server that is none are told from each other, with the right URL', async () => {
    const made = await cluster();
    const node = made.servers[0];
    const asServer = await brokerAt(`redis://127.0.0.1:${node?.port}/0`);
    await expect(asServer.connect({ timeoutMs: 10_000 })).rejects.toMatchObject({
      code: 'E_NOT_SUPPORTED',
      message: expect.stringContaining('write redis+cluster://'),
    });
    const alone = await startRedis();
    started.push(alone);
    const asCluster = await brokerAt(`redis+cluster://127.0.0.1:${alone.port}/`);
    await expect(asCluster.connect({ timeoutMs: 10_000 })).rejects.toMatchObject({
      code: 'E_NOT_SUPPORTED',
      message: expect.stringContaining('write redis://'),
    });
  }, 60_000);
});
