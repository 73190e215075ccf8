/** The PostgreSQL store through what happens to servers and connections: nothing that was answered is lost, and waits return. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { untilWall } from '../../src/testing/conformance/broker-kit.js';
import { meta } from '../../src/testing/conformance/result-fixture.js';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.js';
import { type PostgresServer, startPostgres } from '../support/postgres-server.js';
import { listening, patient, stores, success } from './postgres-kit.js';

let server: PostgresServer;
let proxy: FaultProxy;
beforeAll(async () => {
  server = await startPostgres();
  proxy = await startFaultProxy({ target: { host: '127.0.0.1', port: server.port } });
});
afterAll(async () => {
  await proxy?.close();
  await server?.stop();
});
const open = stores();

test('waits return with results that are stored after the server was killed and started again', async () => {
  const [waiter, writer] = [await open(server.url), await open(server.url)];
  await listening(waiter, writer);
  const ids = Array.from({ length: 20 }, (_, at) => `after-kill-${at}`);
  const waits = ids.map((id) => waiter.wait(id, { signal: patient() }));
  await server.kill9();
  await server.restart();
  for (const id of ids) expect(await writer.set([success(id)])).toEqual(['stored']);
  expect(await Promise.all(waits)).toEqual(ids.map((id) => meta(id, 'SUCCESS')));
});

test('waits return with results that were stored while nobody could hear of them', async () => {
  const [waiter, writer] = [await open(proxy.url(server.url)), await open(server.url)];
  await listening(waiter, writer);
  const ids = ['deaf-1', 'deaf-2'];
  const waits = ids.map((id) => waiter.wait(id, { signal: patient() }));
  await proxy.refuse();
  proxy.reset();
  await writer.set(ids.map((id) => success(id)));
  await proxy.pass();
  expect(await Promise.all(waits)).toEqual(ids.map((id) => meta(id, 'SUCCESS')));
});

test('a store that waits sends not a byte until something comes', async () => {
  const [waiter, writer] = [await open(proxy.url(server.urlOf({ pool_max: '1' }))), await open(server.url)];
  await listening(waiter, writer);
  const waiting = waiter.wait('unheard', { signal: patient() });
  // on one connection the second of these is answered after the look that the wait begins with
  for (let turn = 0; turn < 2; turn += 1) await waiter.get(['unheard']);
  const before = proxy.swallowed;
  proxy.halfOpen('to-server');
  await untilWall(Date.now() + 1_500);
  expect(proxy.swallowed).toBe(before);
  await proxy.pass();
  await writer.set([success('unheard')]);
  expect(await waiting).toBe(meta('unheard', 'SUCCESS'));
});

test('what was answered before a kill in the midst of writes is there after it, and the other writes go on', async () => {
  const writer = await open(server.url);
  const answered: string[] = [];
  let isKilled = false;
  const work = Array.from({ length: 4 }, async (_, row) => {
    for (let batch = 0; batch < 40; batch += 1) {
      const ids = Array.from({ length: 10 }, (_item, at) => `midst-${row}-${batch}-${at}`);
      // repeated by the store itself through the outage: stored, whether or not the answer to the first try was lost
      expect(await writer.set(ids.map((id) => success(id)))).toEqual(ids.map(() => 'stored'));
      if (!isKilled) answered.push(...ids);
    }
  });
  while (answered.length < 200) await new Promise((resolve) => setImmediate(resolve));
  const before = [...answered];
  isKilled = true;
  await server.kill9();
  await server.restart();
  const found = await (await open(server.url)).get(before);
  expect(found).toEqual(before.map((id) => meta(id, 'SUCCESS')));
  await Promise.all(work);
  const all = Array.from({ length: 1_600 }, (_, at) => `midst-${Math.trunc(at / 400)}-${Math.trunc(at / 10) % 40}-${at % 10}`);
  expect((await writer.get(all)).filter((found) => found === null)).toEqual([]);
});

test('connections that are cut again and again cost no write its answer and no wait its result', async () => {
  const store = await open(proxy.url(server.url));
  await store.connect({ timeoutMs: 5_000 });
  for (let round = 0; round < 8; round += 1) {
    const id = `cut-${round}`;
    const waiting = store.wait(id, { signal: patient() });
    const written = store.set([success(id)]);
    proxy.reset();
    expect(await written).toEqual(['stored']);
    expect(await waiting).toBe(meta(id, 'SUCCESS'));
  }
});

test('a schema that is dropped while the store is in use is made again', async () => {
  const store = await open(server.urlOf({ schema: 'dropped' }));
  await store.set([success('first')]);
  await server.run('DROP SCHEMA dropped CASCADE');
  expect(await store.set([success('second')])).toEqual(['stored']);
  expect(await store.get(['first', 'second'])).toEqual([null, meta('second', 'SUCCESS')]);
});

test('a server that comes back as a standby is told apart, and waited for until it is a primary', {
  timeout: 60_000,
}, async () => {
  const [store, waiter] = [await open(server.url), await open(server.url)];
  await listening(waiter, store);
  const waiting = waiter.wait('promoted', { signal: AbortSignal.timeout(50_000) });
  await server.restartAsStandby();
  await expect((await open(server.url)).connect({ timeoutMs: 1_000 })).rejects.toMatchObject({
    code: 'E_BROKER_UNREACHABLE',
    message: expect.stringContaining('is a standby, which takes no writes'),
  });
  const written = store.set([success('promoted')]);
  await server.run('SELECT pg_promote()');
  expect(await written).toEqual(['stored']);
  expect(await waiting).toBe(meta('promoted', 'SUCCESS'));
});
