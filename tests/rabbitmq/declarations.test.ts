/**
 * An app's `queues` on a real broker: declared equal to what Celery declares for the same options, with every option tried, and
 * messages that go by exchange. Long because all its tests share one private node.
 */
import { execFileSync } from 'node:child_process';
import { afterEach, expect, test } from 'vitest';
import type { Queues } from '../../src/app/queues.js';
import { resolveQueues } from '../../src/app/queues.js';
import type { Broker } from '../../src/brokers/broker.js';
import { openBroker } from '../../src/brokers/from-url.js';
import { type Logger, silentLogger } from '../../src/core/logger.js';
import { createApp } from '../../src/index.js';
import {
  Collector,
  drain,
  expectDepth,
  message,
  outgoing,
  sendIds,
  uniqueQueue,
} from '../../src/testing/conformance/broker-kit.js';
import { hasCelery, PYTHONS } from '../support/celery.js';
import { onPrivateNode } from './private-node.js';

type Row = Record<string, unknown>;

const HEADERS_IN_PYTHON = `
import sys
from celery import Celery
from kombu import Exchange, Queue
app = Celery('t', broker=sys.argv[1])
tenants = Exchange('tenants', type='headers')
app.conf.task_default_queue = 'acme'
app.conf.task_queues = [Queue('acme', tenants, binding_arguments={'x-match': 'all', 'tenant': 'acme'})]
with app.connection() as connection:
    app.amqp.queues['acme'](connection.default_channel).declare()
app.send_task('note', args=[sys.argv[2]], exchange='tenants', routing_key='', headers={'tenant': 'acme'})
`;

onPrivateNode('declared queues on RabbitMQ', (node) => {
  const closing: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0)) await close();
  });

  async function open(queues: Queues, defaultType: 'classic' | 'quorum' | null = null): Promise<Broker> {
    const table = resolveQueues(queues, defaultType);
    const broker = await openBroker({ url: node.server.url, queues: table, logger: silentLogger, role: 'engine' });
    closing.push(() => broker.close());
    return broker;
  }

  const list = (what: string, ...columns: string[]): Row[] =>
    JSON.parse(node.server.ctl(what, ...columns, '--formatter', 'json')) as Row[];

  /** Name → value of the arguments of a queue. */
  function argumentsOf(queue: string): Row {
    const row = list('list_queues', 'name', 'arguments').find(({ name }) => name === queue);
    expect(row, `queue ${queue}`).toBeDefined();
    return Object.fromEntries((row!['arguments'] as [string, string, unknown][]).map(([name, , value]) => [name, value]));
  }

  const bindingsOf = (queue: string): unknown[] =>
    list('list_bindings', 'source_name', 'destination_name', 'routing_key')
      .filter(({ destination_name: to, source_name: from }) => to === queue && from !== '')
      .map(({ source_name, routing_key }) => [source_name, routing_key]);

  /** The table of the vector c-amqp-topology-custom-queues, which was recorded from Celery 5.6.2. */
  const CELERYS: Queues = {
    celery: { arguments: { 'x-max-priority': 10 } },
    media: {
      exchangeType: 'topic',
      routingKey: 'media.#',
      maxPriority: 5,
      messageTtl: '60s',
      expires: '1h',
      maxLength: 100,
    },
    short: { exchange: 'celery', routingKey: 'celery' },
  };
  const CELERYS_IN_PYTHON = `
import sys
from celery import Celery
from kombu import Exchange, Queue
app = Celery('t', broker=sys.argv[1])
app.conf.task_queues = [
    Queue('celery', Exchange('celery'), routing_key='celery', queue_arguments={'x-max-priority': 10}),
    Queue('media', Exchange('media', type='topic'), routing_key='media.#', max_priority=5, message_ttl=60, expires=3600, max_length=100),
    Queue('short'),
]
with app.connection() as connection:
    for queue in app.amqp.queues.values():
        queue(connection.default_channel).declare()
app.send_task('t', queue='media', routing_key='media.python', task_id='from-python')
`;

  test('are equal to Celery’s: its recorded declarations, and Python declares them again without a word', async () => {
    const broker = await open(CELERYS);
    for (const queue of Object.keys(CELERYS)) await broker.declare(queue);
    expect(Object.keys(CELERYS).map((queue) => [argumentsOf(queue), bindingsOf(queue)])).toEqual([
      [{ 'x-max-priority': 10 }, [['celery', 'celery']]],
      [{ 'x-expires': 3_600_000, 'x-max-length': 100, 'x-max-priority': 5, 'x-message-ttl': 60_000 }, [['media', 'media.#']]],
      [{}, [['celery', 'celery']]],
    ]);
    expect(list('list_exchanges', 'name', 'type', 'durable', 'auto_delete').filter(({ name }) => name === 'media')).toEqual([
      { name: 'media', type: 'topic', durable: true, auto_delete: false },
    ]);
    for (const version of ['5.2', '5.6'] as const) {
      if (!hasCelery(version)) continue;
      // a declaration that differs would be a PreconditionFailed, and exit code 1
      execFileSync(PYTHONS[version], ['-c', CELERYS_IN_PYTHON, node.server.url], { stdio: 'pipe' });
      expect(await drain(broker, 'media', 1)).toEqual(['from-python']);
    }
  });

  test('every option is taken by the broker and does what it says', async () => {
    const [full, dropped, short, quorum] = ['full', 'dropped', 'short', 'quorum'].map((name) => uniqueQueue(name)) as [
      string,
      string,
      string,
      string,
    ];
    const broker = await open({
      [full]: { maxLength: 1, maxLengthBytes: '1MiB', overflow: 'reject-publish' },
      [short]: { messageTtl: '1ms', deadLetterExchange: '', deadLetterRoutingKey: dropped },
      [dropped]: {},
      [quorum]: {
        type: 'quorum',
        maxLength: 5,
        overflow: 'reject-publish',
        deadLetterExchange: dropped,
        arguments: { 'x-delivery-limit': 7, 'x-dead-letter-strategy': 'at-least-once', 'x-single-active-consumer': true },
      },
    });
    const results = await broker.publish([outgoing(full, 'a'), outgoing(full, 'b')], { timeoutMs: 10_000 });
    expect(results.map((result) => result?.code ?? null)).toEqual([null, 'E_PUBLISH_FAILED']);
    // the queue of dropped messages was made with the one that drops
    await sendIds(broker, short, ['late']);
    await expectDepth(broker, dropped, { ready: 1 });
    expect(await drain(broker, dropped, 1)).toEqual(['late']);
    await sendIds(broker, quorum, ['q']);
    expect(await drain(broker, quorum, 1)).toEqual(['q']);
    expect(argumentsOf(quorum)).toEqual({
      'x-queue-type': 'quorum',
      'x-max-length': 5,
      'x-overflow': 'reject-publish',
      'x-dead-letter-exchange': dropped,
      'x-delivery-limit': 7,
      'x-dead-letter-strategy': 'at-least-once',
      'x-single-active-consumer': true,
    });
  });

  /** Sends one after the other, and says which the queue took. */
  async function taken(broker: Broker, queue: string, ids: readonly string[]): Promise<(string | null)[]> {
    const codes: (string | null)[] = [];
    for (const id of ids) codes.push((await broker.publish([outgoing(queue, id)], { timeoutMs: 10_000 }))[0]?.code ?? null);
    return codes;
  }

  test.each(['classic', 'quorum'] as const)(
    'the limits of %s queues hold: lengths, bytes, times and what is dropped',
    async (type) => {
      const [oldest, bytes, late, dropped, unused] = ['oldest', 'bytes', 'late', 'dropped', 'unused'].map((name) =>
        uniqueQueue(`${type}-${name}`),
      ) as [string, string, string, string, string];
      const deadLetters = { deadLetterExchange: '', deadLetterRoutingKey: dropped };
      const broker = await open({
        [oldest]: { type, maxLength: 1, overflow: 'drop-head', ...deadLetters },
        [bytes]: { type, maxLengthBytes: '1KB', overflow: 'reject-publish' },
        [late]: { type, messageTtl: '200ms', ...deadLetters },
        [unused]: { type, expires: '1s' },
        [dropped]: { type },
      });
      expect(await taken(broker, oldest, ['1', '2'])).toEqual([null, null]);
      expect(await drain(broker, dropped, 1)).toEqual(['1']);
      expect(await drain(broker, oldest, 1)).toEqual(['2']);
      // a quorum queue may take some more than its limit
      const forty = Array.from({ length: 40 }, (_, index) => `${index}`);
      const codes = await taken(broker, bytes, forty);
      expect([codes[0], codes.at(-1)]).toEqual([null, 'E_PUBLISH_FAILED']);
      expect(await taken(broker, late, ['x'])).toEqual([null]);
      expect(await drain(broker, dropped, 1)).toEqual(['x']);
      await broker.declare(unused);
      const names = (): unknown[] => list('list_queues', 'name').map(({ name }) => name);
      await expect.poll(names, { timeout: 20_000, interval: 1_000 }).not.toContain(unused);
      expect(names()).toContain(dropped);
    },
    60_000,
  );

  test('reject-publish-dlx fails the send of a full classic queue, and keeps a copy where dead letters go', async () => {
    const [full, dropped] = [uniqueQueue('full-dlx'), uniqueQueue('dropped-dlx')];
    const broker = await open({
      [full]: { maxLength: 1, overflow: 'reject-publish-dlx', deadLetterExchange: '', deadLetterRoutingKey: dropped },
      [dropped]: {},
    });
    expect(await taken(broker, full, ['1', '2'])).toEqual([null, 'E_PUBLISH_FAILED']);
    expect(await drain(broker, dropped, 1)).toEqual(['2']);
  });

  test.each(['direct', 'topic', 'fanout'] as const)(
    'quorum queues are bound to a %s exchange',
    async (exchangeType) => {
      const exchange = uniqueQueue(`quorum-${exchangeType}`);
      const [one, two] = [`${exchange}.1`, `${exchange}.2`];
      const row = { exchange, exchangeType, type: 'quorum' } as const;
      const broker = await open({ [one]: { ...row, routingKey: 'k.1' }, [two]: { ...row, routingKey: 'k.2' } });
      const sent = { to: { queue: one, exchange, routingKey: 'k.1' }, message: message('x') };
      expect(await broker.publish([sent], { timeoutMs: 20_000 })).toEqual([null]);
      expect(await drain(broker, one, 1)).toEqual(['x']);
      await expectDepth(broker, two, { ready: exchangeType === 'fanout' ? 1 : 0 });
    },
    30_000,
  );

  test('defaultQueueType makes quorum queues of those that say nothing, and classic ones keep their priorities', async () => {
    const [plain, fast] = [uniqueQueue('plain'), uniqueQueue('fast')];
    const broker = await open({ [fast]: { type: 'classic', maxPriority: 9 } }, 'quorum');
    await sendIds(broker, plain, ['x']);
    await broker.publish(
      [0, 9, 4].map((priority) => outgoing(fast, `p${priority}`, { priority })),
      { timeoutMs: 10_000 },
    );
    expect(argumentsOf(plain)).toEqual({ 'x-queue-type': 'quorum' });
    expect(await drain(broker, fast, 3)).toEqual(['p9', 'p4', 'p0']);
    expect(await drain(broker, plain, 1)).toEqual(['x']);
  });

  const DELAYED_BY_PYTHON = `
import sys
from celery import Celery
from kombu import Exchange, Queue
app = Celery('t', broker=sys.argv[1])
topic = dict(exchange=Exchange('films', type='topic'), queue_arguments={'x-queue-type': 'quorum'})
app.conf.task_queues = [Queue('films', routing_key='films.#', **topic), Queue('films.dvd', routing_key='films.dvd', **topic)]
app.send_task('t', queue='films', routing_key='films.video', countdown=2, task_id='from-python')
`;

  test.skipIf(!hasCelery('5.6'))(
    'what a Celery 5.6 client delays for a topic exchange comes to its queue, and ours for another queue does not',
    async () => {
      const topic = { exchange: 'films', exchangeType: 'topic', type: 'quorum' } as const;
      const broker = await open({
        films: { ...topic, routingKey: 'films.#' },
        'films.dvd': { ...topic, routingKey: 'films.dvd' },
      });
      const films = await Collector.open(broker, { films: 5 }, { acking: true });
      const dvd = await Collector.open(broker, { 'films.dvd': 5 }, { acking: true });
      execFileSync(PYTHONS['5.6'], ['-c', DELAYED_BY_PYTHON, node.server.url], { stdio: 'pipe' });
      await broker.publish([outgoing('films.dvd', 'ours', { notBeforeMs: Date.now() + 1_000 })], { timeoutMs: 10_000 });
      await films.atLeast(1);
      await dvd.atLeast(1);
      // asked after both: what went astray has been there for a second
      expect([films.ids, dvd.ids]).toEqual([['from-python'], ['ours']]);
    },
  );

  test('priorities for quorum queues are told of once, and nothing is lost by them', async () => {
    const queue = uniqueQueue('no-priorities');
    const warnings: string[] = [];
    const logger: Logger = { ...silentLogger, warn: (_, text) => void warnings.push(String(text)), child: () => logger };
    const queues = resolveQueues({}, 'quorum');
    const broker = await openBroker({ url: node.server.url, queues, logger, role: 'engine' });
    closing.push(() => broker.close());
    expect(broker.capabilities.priorities).toContain("type: 'classic'");
    for (const priority of [0, 9])
      expect(await broker.publish([outgoing(queue, `p${priority}`, { priority })], { timeoutMs: 10_000 })).toEqual([null]);
    expect(await drain(broker, queue, 2)).toEqual(['p0', 'p9']);
    expect(warnings).toEqual([expect.stringContaining('knows no priorities')]);
  });

  test('arguments that no queue may have are told, instead of taking them for a queue of somebody else', async () => {
    const queue = uniqueQueue('refused');
    const broker = await open({ [queue]: { arguments: { 'x-max-length': -1 } } });
    await expect(broker.declare(queue)).rejects.toMatchObject({
      code: 'E_NOT_SUPPORTED',
      message: expect.stringContaining('x-max-length'),
    });
    const [result] = await broker.publish([outgoing(queue, 'x')], { timeoutMs: 10_000 });
    expect([result?.code, result?.outcome]).toEqual(['E_NOT_SUPPORTED', 'not-sent']);
  });

  test('two queues that take each other’s dead letters are declared without waiting for each other', async () => {
    const [a, b] = [uniqueQueue('a'), uniqueQueue('b')];
    const broker = await open({ [a]: { deadLetterExchange: b }, [b]: { deadLetterExchange: a } });
    await Promise.all([broker.declare(a), broker.declare(b)]);
    expect([argumentsOf(a), argumentsOf(b)]).toEqual([{ 'x-dead-letter-exchange': b }, { 'x-dead-letter-exchange': a }]);
  });

  test('a message for a topic exchange reaches each queue whose pattern fits, also after one was deleted; no other is confirmed', async () => {
    const exchange = uniqueQueue('topic');
    const [all, video] = [`${exchange}.all`, `${exchange}.video`];
    const topic = { exchange, exchangeType: 'topic' } as const;
    const broker = await open({ [all]: { ...topic, routingKey: 'media.#' }, [video]: { ...topic, routingKey: 'media.video' } });
    const to = (routingKey: string, id: string) => ({ to: { queue: all, exchange, routingKey }, message: message(id) });
    const send = async (routingKey: string, id: string) =>
      (await broker.publish([to(routingKey, id)], { timeoutMs: 10_000 })).map(
        (result) => result && [result.code, result.outcome],
      );
    expect(await send('media.video', 'v')).toEqual([null]);
    expect(await send('media.audio', 'a')).toEqual([null]);
    expect(await drain(broker, all, 2)).toEqual(['v', 'a']);
    expect(await drain(broker, video, 1)).toEqual(['v']);
    expect(await send('elsewhere', 'x')).toEqual([['E_QUEUE_MISSING', 'not-sent']]);
    await node.raw(async (channel) => {
      for (const queue of [all, video]) await channel.deleteQueue(queue);
      await channel.deleteExchange(exchange);
    });
    expect(await send('media.video', 'again')).toEqual([null]);
    expect(await drain(broker, all, 1)).toEqual(['again']);
    expect(await drain(broker, video, 1)).toEqual(['again']);
  });

  test('tasks go by routes to a topic and a fanout exchange, run in each queue, and a countdown is kept', async () => {
    const [media, news] = [uniqueQueue('media'), uniqueQueue('news')];
    const queues: Queues = {
      [media]: { exchangeType: 'topic', routingKey: 'media.#' },
      [`${news}.1`]: { exchange: news, exchangeType: 'fanout' },
      [`${news}.2`]: { exchange: news, exchangeType: 'fanout' },
    };
    const app = createApp({
      broker: node.server.url,
      queues,
      routes: { 'media.*': { exchange: media, routingKey: 'media.video' }, news: { exchange: news } },
      logger: silentLogger,
    });
    const heard: string[] = [];
    const tell = app.fn('news', (text: string) => void heard.push(text));
    const encode = app.fn('media.encode', () => Date.now());
    const worker = await app.worker({ pool: 'inline', logger: silentLogger, queues: Object.keys(queues) });
    try {
      await tell.with({ ignoreResult: true }).send('hello');
      const dueMs = Date.now() + 1_500;
      const handle = await encode.with({ countdown: '1500ms' }).send();
      expect(await handle.result({ timeout: '20s' })).toBeGreaterThanOrEqual(dueMs);
      await expect.poll(() => heard, { timeout: 10_000 }).toEqual(['hello', 'hello']);
      const { answers } = await app.control.activeQueues({ timeout: '5s' });
      expect([...answers.values()].flat().find(({ name }) => name === media)).toMatchObject({
        exchange: { name: media, type: 'topic' },
        routing_key: 'media.#',
      });
      const other = { queue: media, exchange_type: 'fanout' };
      const { errors } = await app.control.call('add_consumer', other, { timeout: '5s' });
      expect([...errors.values()]).toEqual([expect.stringContaining(`with the topic exchange ${media}`)]);
    } finally {
      await worker.close();
      await app.close();
    }
  });

  test('a headers exchange leads by the headers of a task, ours and Celery’s, and Python declares it again without a word', async () => {
    const bindingArguments = { 'x-match': 'all', tenant: 'acme' };
    const app = createApp({
      ...{ broker: node.server.url, logger: silentLogger },
      queues: { acme: { exchange: 'tenants', exchangeType: 'headers', bindingArguments } },
    });
    const seen: string[] = [];
    const note = app.fn('note', (text: string) => void seen.push(text), { ignoreResult: true });
    const worker = await app.worker({ pool: 'inline', logger: silentLogger, queues: ['acme'] });
    const toTenants = (tenant: string) => note.with({ exchange: 'tenants', headers: { tenant } });
    try {
      await toTenants('acme').send('ours');
      await expect(toTenants('other').send('nobody’s')).rejects.toMatchObject({ code: 'E_QUEUE_MISSING', outcome: 'not-sent' });
      const versions = (['5.2', '5.6'] as const).filter((version) => hasCelery(version));
      for (const version of versions)
        execFileSync(PYTHONS[version], ['-c', HEADERS_IN_PYTHON, node.server.url, version], { stdio: 'pipe' });
      await expect.poll(() => seen, { timeout: 10_000 }).toEqual(['ours', ...versions]);
    } finally {
      await worker.close();
      await app.close();
    }
  });

  test('a broadcast queue is the exchange of Celery’s, and a private queue for each who listens, gone with it', async () => {
    const news = uniqueQueue('news');
    const queues = (): Row[] =>
      list('list_queues', 'name', 'durable', 'exclusive', 'auto_delete').filter(({ name }) => String(name).includes(news));
    const broker = await open({ [news]: { broadcast: true } });
    const collector = await Collector.open(broker, { [news]: 1 });
    const own = { name: expect.stringMatching(/^[0-9a-f-]{36}\./), durable: false, exclusive: true, auto_delete: true };
    expect(queues()).toEqual([own]);
    expect(list('list_exchanges', 'name', 'type', 'durable', 'auto_delete').filter(({ name }) => name === news)).toEqual([
      { name: news, type: 'fanout', durable: true, auto_delete: false },
    ]);
    await sendIds(broker, news, ['a']);
    await collector.got(1);
    await collector.consumer.close({ timeoutMs: 5_000 });
    expect(queues()).toEqual([]);
  });
});
