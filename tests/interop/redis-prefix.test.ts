/**
 * Both languages as one tenant of a shared Redis: a key prefix, a database of its own, and a user with the rights that the
 * guide asks for. What anybody does outside of the prefix is refused by the server, and shows as a failed test.
 */
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { App } from '../../src/app/app.js';
import { createApp } from '../../src/index.js';
import { hasCelery, PythonClient, startPythonWorker } from '../support/celery.js';
import { guideUser } from '../support/redis-acl.js';
import { type RedisServer, startRedis } from '../support/redis-server.js';
import { type OurWorker, startOurWorker } from './fleet.js';

const VERSIONS = (['5.2', '5.6'] as const).filter((version) => hasCelery(version) || process.env.CI);
const PREFIX = 'shop:';
const DATABASE = 3;
/** As Celery 5.2 reads a result: it knows no prefix for them (5.3 and later do), so they need a user who may write everywhere. */
const KNOWS_RESULT_PREFIX = { '5.2': false, '5.6': true };

describe.each(VERSIONS)('a tenant of a shared Redis, with Celery %s', (version) => {
  let server: RedisServer;
  let admin: Redis;
  let ours: OurWorker;
  let python: Awaited<ReturnType<typeof startPythonWorker>>;
  let client: PythonClient;
  let app: App;

  beforeAll(async () => {
    process.env['INTEROP_PREFIX'] = PREFIX;
    server = await startRedis({ args: guideUser('tenant', 'secret', PREFIX, DATABASE) });
    const tenant = `redis://tenant:secret@127.0.0.1:${server.port}/${DATABASE}`;
    const anybody = `redis://127.0.0.1:${server.port}/${DATABASE}`;
    admin = new Redis(anybody, { protocol: 2 });
    const withPrefix = KNOWS_RESULT_PREFIX[version];
    const fleet = {
      broker: `${tenant}?prefix=${PREFIX}`,
      results: withPrefix ? `${tenant}?prefix=${PREFIX}` : anybody,
      close: () => server.stop(),
    };
    ours = await startOurWorker(fleet, ['--name', 'ours@suite']);
    python = await startPythonWorker(version, tenant, withPrefix ? tenant : anybody);
    client = new PythonClient(version, tenant, withPrefix ? tenant : anybody);
    await client.start();
    app = createApp({ name: 'tenant', broker: fleet.broker, results: fleet.results });
  }, 120_000);
  afterAll(async () => {
    delete process.env['INTEROP_PREFIX'];
    await app?.close();
    await client?.close();
    await python?.stop();
    await ours?.stop();
    admin?.disconnect();
    await server?.stop();
  }, 60_000);

  test('calls go both ways, with their results', async () => {
    expect(await client.ask({ task: 'interop.add', args: [2, 3] })).toMatchObject({ state: 'SUCCESS', result: 5 });
    const add = app.remote<readonly unknown[], number>('py.add', { queue: 'python' });
    expect(await (await add.send(4, 5)).result({ timeout: '20s' })).toBe(9);
  });

  test('a delayed task of Python comes back, and a retry of ours', async () => {
    expect(await client.ask({ task: 'interop.add', args: [1, 1], options: { countdown: 1 } })).toMatchObject({ result: 2 });
    expect(await client.ask({ task: 'interop.flaky', args: [`prefix-${version}`, 1] })).toMatchObject({ state: 'SUCCESS' });
  });

  test('a ping from either side is answered by both', async () => {
    const { answers } = await app.control.ping({ timeout: '10s' });
    const nodes = [...answers.keys()].sort();
    expect(nodes).toEqual(['ours@suite', expect.stringMatching(/^py/)]);
    expect((await client.ask({ ping: 5 })).nodes).toEqual(nodes);
  });

  test('every key is under the prefix, and in that database', async () => {
    const keys = await admin.keys('*');
    expect(keys).toContain(`${PREFIX}_kombu.binding.interop`);
    // of results ours are a meta and a claim
    const result = KNOWS_RESULT_PREFIX[version] ? /^$/ : /^(?:celery-task-meta-|lovage:epoch)/;
    expect(keys.filter((key) => !key.startsWith(PREFIX) && !result.test(key))).toEqual([]);
    const databases = [...(await admin.info('keyspace')).matchAll(/^db(\d+):/gm)].map(([, number]) => Number(number));
    expect(databases).toEqual([DATABASE]);
    const denied = ((await admin.call('ACL', 'LOG')) as unknown[][]).map((entry) => entry.join(' '));
    expect(denied.filter((entry) => !/client\|setinfo|client\|maint/i.test(entry))).toEqual([]);
  });
});
