/** The lead on RabbitMQ alone and what is noted of decisions, by several schedulers' connections: who leads, what a new one knows, what a late one can still do. */
import { afterEach, expect, test } from 'vitest';
import type { BeatStore, Firing, Lead } from '../../src/beat/beat-store.js';
import { encodeDefinition } from '../../src/beat/definition.js';
import { encodeState, NO_STATE } from '../../src/beat/entry-state.js';
import { openBeatStore } from '../../src/beat/from-url.js';
import { openBroker } from '../../src/brokers/from-url.js';
import { silentLogger } from '../../src/core/logger.js';
import { outgoing, until } from '../../src/testing/conformance/broker-kit.js';
import { makeSignature } from '../../src/wire/signature.js';
import { onPrivateNode } from '../rabbitmq/private-node.js';
import { startFaultProxy } from '../support/fault-proxy.js';

interface One {
  readonly name: string;
  readonly store: BeatStore;
  /** What it heard, the newest last. */
  readonly heard: Lead[];
  /** Resolves with its epoch once it leads. */
  leads(): Promise<number>;
  firing(id: string, cursorMs: number, messages?: Firing['messages']): Promise<Firing>;
}

onPrivateNode('the lead on RabbitMQ alone', (node) => {
  const cleanups: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });
  let apps = 0;
  const nextApp = (): string => `app${(apps += 1)}`;

  async function scheduler(
    app: string,
    name: string,
    url = node.server.url,
    entries = ['a'],
    logger = silentLogger,
  ): Promise<One> {
    const store = await openBeatStore({ url, app, logger, brokerUrl: url });
    cleanups.push(() => store.close());
    await store.connect({ timeoutMs: 10_000 });
    const options = { every: '1h' } as const;
    const signature = makeSignature('t');
    const changes = entries.map((id) => ({
      ...({ kind: 'put', id, paused: false, expect: 0 } as const),
      definition: encodeDefinition({ source: 'code', options, signature, sinceMs: 0 }, id),
    }));
    expect(await store.change(changes)).toEqual(changes.map(() => 'done'));
    const heard: Lead[] = [];
    await store.listen({ onLead: (lead) => heard.push(lead), onChange() {}, onUp() {}, onDown() {} });
    return {
      ...{ name, store, heard },
      async leads() {
        let epoch = 0;
        const taken = async (): Promise<boolean> => {
          const lead = await store.lead();
          const after = lead.owner === null ? await store.takeLead(name, lead.epoch) : lead;
          epoch = after.epoch;
          return after.owner === name;
        };
        await until(taken, `${name} leads`, 20_000);
        return epoch;
      },
      async firing(id, cursorMs, messages = []) {
        const entry = await store.get(id);
        const state = encodeState({ ...NO_STATE, cursorMs, sent: messages.length });
        return { id, revision: entry?.revision ?? 0, seq: entry?.seq ?? 0, state, messages, request: null };
      },
    };
  }

  /** How many messages lie in the queue when nobody holds any. */
  const lying = (app: string): Promise<number> =>
    node.raw(async (channel) => (await channel.checkQueue(`lovage.beat.${app}`)).messageCount);

  test('belongs to the first; those who come later are told so, and one goes on with what is noted as soon as the first leaves', async () => {
    const app = nextApp();
    const one = await scheduler(app, 'one');
    const epoch = await one.leads();
    expect(await one.store.fire(epoch, [await one.firing('a', 1_234)])).toEqual(['done']);
    const others = await Promise.all(['two', 'three', 'four', 'five', 'six'].map((name) => scheduler(app, name)));
    for (const { name, store, heard } of others) {
      await until(async () => heard.some(({ owner }) => owner === 'one'), `${name} hears who leads`, 10_000);
      expect(await store.takeLead(name, epoch)).toEqual({ owner: 'one', epoch });
    }
    const [two, ...rest] = others as [One, ...One[]];
    for (const { store } of rest) await store.close();
    await one.store.resign({ owner: 'one', epoch });
    expect(await two.leads()).toBe(epoch + 1);
    const entry = await two.store.get('a');
    expect([entry?.seq, JSON.parse(entry?.state ?? '{}')]).toEqual([1, { ...NO_STATE, cursorMs: 1_234 }]);
    expect(await one.store.fire(epoch, [await one.firing('a', 9_999)])).toBeNull();
  });

  test('keeps one note, however much is decided', async () => {
    const app = nextApp();
    const one = await scheduler(app, 'one', undefined, ['a', 'b', 'c']);
    const epoch = await one.leads();
    for (let n = 1; n <= 50; n += 1)
      expect(await one.store.fire(epoch, [await one.firing('a', n), await one.firing('c', n)])).toEqual(['done', 'done']);
    expect(await one.store.fire(epoch, [{ ...(await one.firing('a', 51)), seq: 3 }])).toEqual(['stale']);
    await one.store.close();
    await expect.poll(() => lying(app), { timeout: 10_000 }).toBe(1);
  });

  test('is lost with the connection, and what was on its way then is never sent', { timeout: 60_000 }, async () => {
    const app = nextApp();
    const queue = `late-${app}`;
    const broker = await openBroker({ url: node.server.url, logger: silentLogger, role: 'client' });
    cleanups.push(() => broker.close());
    await broker.declare(queue);
    const proxy = await startFaultProxy({ target: { host: '127.0.0.1', port: node.server.port } });
    cleanups.push(() => proxy.close());
    const one = await scheduler(app, 'one', proxy.url(node.server.url));
    const epoch = await one.leads();
    // a first one declares what there is to declare
    expect(await one.store.fire(epoch, [await one.firing('a', 1, [outgoing(queue, 'first')])])).toEqual(['done']);
    const two = await scheduler(app, 'two');
    await until(async () => two.heard.length > 0, 'two stands by', 10_000);
    proxy.stall();
    const late = one.store.fire(epoch, [await one.firing('a', 2, [outgoing(queue, 'late')])]);
    const next = await two.leads();
    expect(next).toBe(epoch + 1);
    await proxy.pass();
    expect(await late).toBeNull();
    expect(await two.store.fire(next, [await two.firing('a', 2, [outgoing(queue, 'again')])])).toEqual(['done']);
    // it has a new connection, and stands by
    await until(async () => one.heard.at(-1)?.owner === 'two', 'one hears who leads', 20_000);
    const ids = (await broker.peek(queue, 10)).map((one) => ('message' in one ? one.message.headers['id'] : 'garbage'));
    expect(ids).toEqual(['first', 'again']);
  });

  test('finds the newest of several notes, and takes no harm from what else lies there', async () => {
    const app = nextApp();
    const before = await scheduler(app, 'before');
    await before.store.close();
    await node.raw(async (channel) => {
      const lay = (type: string | undefined, text: string): boolean =>
        channel.publish('', `lovage.beat.${app}`, Buffer.from(text), { persistent: true, ...(type && { type }) });
      const note = (epoch: number, number: number, seq: number): string =>
        JSON.stringify({ epoch, number, entries: [['a', 'other', 5, seq, 77, 1, 0]] });
      lay('lovage.beat.note', note(7, 1, 3));
      lay('lovage.beat.note', 'broken');
      lay('lovage.beat.mark', '');
      lay(undefined, 'who knows');
      lay('lovage.beat.note', note(7, 2, 4));
      await channel.checkQueue(`lovage.beat.${app}`); // all that was written before has arrived
    });
    const one = await scheduler(app, 'one');
    expect(await one.leads()).toBe(8);
    expect(await one.store.get('a')).toMatchObject({ seq: 4, state: expect.stringContaining('"cursorMs":77') });
    await one.store.close();
    await expect.poll(() => lying(app), { timeout: 10_000 }).toBe(1);
  });

  test('is found again when its queue was deleted, with all that the leader knows', { timeout: 60_000 }, async () => {
    const app = nextApp();
    const one = await scheduler(app, 'one');
    const epoch = await one.leads();
    await one.store.fire(epoch, [await one.firing('a', 55)]);
    await node.raw((channel) => channel.deleteQueue(`lovage.beat.${app}`));
    await until(async () => (await one.store.lead()).owner === null, 'it notices', 20_000);
    expect(await one.leads()).toBe(epoch + 1);
    expect(await one.store.get('a')).toMatchObject({ seq: 1, state: expect.stringContaining('"cursorMs":55') });
  });

  test('survives a broker that is killed', { timeout: 90_000 }, async () => {
    const app = nextApp();
    const one = await scheduler(app, 'one');
    const epoch = await one.leads();
    expect(await one.store.fire(epoch, [await one.firing('a', 66)])).toEqual(['done']);
    await node.server.kill9();
    await one.store.close();
    await node.server.restart();
    const two = await scheduler(app, 'two');
    expect(await two.leads()).toBe(epoch + 1);
    expect(await two.store.get('a')).toMatchObject({ seq: 1, state: expect.stringContaining('"cursorMs":66') });
  });

  test('takes so many entries and no more, and no wish of people', async () => {
    const app = nextApp();
    const ids = Array.from({ length: 1_000 }, (_, n) => `e${n}`);
    const { store } = await scheduler(app, 'one', undefined, ids);
    const definition = encodeDefinition(
      { source: 'code', options: { every: '1h' }, signature: makeSignature('t'), sinceMs: 0 },
      'more',
    );
    expect(await store.change([{ kind: 'put', id: 'more', definition, paused: false, expect: 0 }])).toEqual(['full']);
    await expect(store.change([{ kind: 'run', id: 'e1', request: 'r' }])).rejects.toMatchObject({ code: 'E_CONFIG_CONFLICT' });
  });

  test('is told to a hundred who asked before there was a leader, and to all who ask later', async () => {
    const app = nextApp();
    const one = await scheduler(app, 'one');
    await until(async () => one.heard.length > 0, 'it may lead', 10_000);
    await node.raw(async (channel) => {
      const answers: string[] = [];
      await channel.consume('amq.rabbitmq.reply-to', (message) => answers.push(String(message?.content)), { noAck: true });
      const ask = (): boolean =>
        channel.publish('', `lovage.beat.${app}`, Buffer.alloc(0), {
          ...{ type: 'lovage.beat.hello', replyTo: 'amq.rabbitmq.reply-to' },
        });
      for (let n = 0; n < 150; n += 1) ask();
      await channel.checkQueue(`lovage.beat.${app}`); // they have arrived, and so they come before the confirm of its note
      const epoch = await one.leads();
      await until(async () => answers.length >= 100, 'answers', 10_000);
      ask();
      await until(async () => answers.length >= 101, 'one more answer', 10_000);
      expect(answers).toEqual(Array(101).fill(JSON.stringify({ owner: 'one', epoch })));
    });
  });

  test('is asked for again, after a while each time, by one who may not publish, and taken once he may', {
    timeout: 60_000,
  }, async () => {
    const app = nextApp();
    const { ctl } = node.server;
    ctl('add_user', 'poor', 'poor');
    ctl('set_permissions', 'poor', '.*', '^lovage', '.*');
    const refusals: string[] = [];
    const url = node.server.url.replace('guest:guest', 'poor:poor');
    const warn = (fields: object, message: string): number => refusals.push(`${message} ${JSON.stringify(fields)}`);
    const one = await scheduler(app, 'one', url, ['a'], { ...silentLogger, warn, child: () => silentLogger });
    await until(async () => refusals.filter((words) => words.includes('ACCESS_REFUSED')).length >= 3, 'refusals', 20_000);
    expect(await one.store.lead()).toEqual({ owner: null, epoch: 0 });
    ctl('set_permissions', 'poor', '.*', '.*', '.*');
    expect(await one.leads()).toBe(1);
  });

  test('refuses a queue of its name that does not know a single active consumer', async () => {
    const app = nextApp();
    await node.raw((channel) => channel.assertQueue(`lovage.beat.${app}`, { durable: true }));
    const store = await openBeatStore({ url: node.server.url, app, logger: silentLogger, brokerUrl: node.server.url });
    cleanups.push(() => store.close());
    await expect(store.connect({ timeoutMs: 10_000 })).rejects.toMatchObject({ code: 'E_CONFIG_CONFLICT' });
  });
});
