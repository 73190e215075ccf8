/** Broadcast queues over the memory broker: who hears what, what waits where, and how much of it. Whole workers: `tests/worker/broadcast-*`. */
import { afterEach, expect, test } from 'vitest';
import { type Logger, silentLogger } from '../core/logger.js';
import { Collector, message, outgoing, until } from '../testing/conformance/broker-kit.js';
import { BROADCAST_LIMITS } from './broadcast-consumer.js';
import type { Broker, OutgoingMessage } from './broker.js';
import { openBroker } from './from-url.js';
import type { QueueTable } from './queue-table.js';

const TABLE: QueueTable = {
  queues: {
    news: { exchange: 'news', exchangeType: 'fanout', routingKey: 'celery', arguments: {}, broadcast: true },
    other: { exchange: 'other', exchangeType: 'fanout', routingKey: 'celery', arguments: {}, broadcast: true },
  },
  defaultType: null,
};

const opened: Broker[] = [];
let count = 0;
let url = '';
afterEach(async () => {
  for (const broker of opened.splice(0)) await broker.close();
});

async function open(): Promise<Broker> {
  if (opened.length === 0) url = `memory:broadcast-queues-${(count += 1)}`;
  const broker = await openBroker({ url, queues: TABLE, logger: silentLogger, role: 'engine' });
  opened.push(broker);
  return broker;
}

const send = (broker: Broker, ...messages: OutgoingMessage[]) => broker.publish(messages, { timeoutMs: 5_000 });
/** Says when all that was sent before has been heard. */
async function heardAll(broker: Broker, ...collectors: Collector[]): Promise<void> {
  const before = collectors.map(({ arrivals }) => arrivals.length);
  await send(broker, outgoing('other', 'mark'));
  await Promise.all(collectors.map((collector, index) => collector.got((before[index] ?? 0) + 1)));
}
const idsOf = ({ arrivals }: Collector): string[] =>
  arrivals.flatMap((arrival) => (arrival.kind === 'delivery' ? [String(arrival.message.headers['id'])] : []));

test('each consumer gets its own copy, also of messages that came before its credit, and other queues are as ever', async () => {
  const sender = await open();
  expect(await send(sender, outgoing('news', 'nobody listens'))).toEqual([null]);
  const [first, second] = [
    await Collector.open(await open(), { news: 1, plain: 5 }),
    await Collector.open(await open(), { news: 5 }),
  ];
  expect(await send(sender, outgoing('news', 'a'), outgoing('plain', 'p'), outgoing('news', 'b'))).toEqual([null, null, null]);
  await first.got(2);
  await second.got(2);
  expect(idsOf(first).sort()).toEqual(['a', 'p']);
  expect(idsOf(second)).toEqual(['a', 'b']);
  const [a] = first.arrivals.filter(({ queue }) => queue === 'news');
  expect(await first.settle({ kind: 'ack', arrival: a as never })).toEqual(['held']);
  expect(first.consumer.holds((a as { tag: string }).tag)).toBe(false);
  first.consumer.grant('news', 1);
  await first.got(3);
  expect(idsOf(first)[2]).toBe('b');
  expect(await sender.depth(['plain', 'news'])).toMatchObject([{ queue: 'plain' }, { queue: 'news', ready: 0 }]);
  expect([await sender.peek('news', 5), await sender.purge('news')]).toEqual([[], 0]);
});

test('what is put off, handed back or tried again stays with its consumer', async () => {
  const broker = await open();
  const [here, there] = [await Collector.open(await open(), { news: 9 }), await Collector.open(await open(), { news: 9 })];
  await send(broker, outgoing('news', 'a'), outgoing('news', 'b'));
  await here.got(2);
  await there.got(2);
  const untilMs = Date.now() + 50;
  const successor = message('a', { headers: { task: 'suite.task', id: 'a', retries: 1 } });
  expect(
    await here.settle(
      { kind: 'defer', arrival: here.delivery(0), untilMs, message: successor },
      { kind: 'requeue', arrival: here.delivery(1), where: 'front' },
    ),
  ).toEqual(['held', 'held']);
  here.consumer.grant('news', 2);
  await here.got(4);
  expect(Date.now()).toBeGreaterThanOrEqual(untilMs);
  expect(here.delivery(2)).toMatchObject({ queue: 'news', redelivered: true });
  expect(here.delivery(3).message.headers).toMatchObject({ id: 'a', retries: 1 });
  expect(there.arrivals).toHaveLength(2);
});

test('one that cannot run is dropped with a line in the log: there are as many copies of it as workers', async () => {
  const lines: unknown[] = [];
  const logger = { ...silentLogger, error: (facts: object) => void lines.push(facts) } as Logger;
  const broker = await open();
  const collector = await Collector.open(broker, { news: 9 }, { logger });
  await send(broker, outgoing('news', 'a'));
  await collector.got(1);
  await collector.settle({
    kind: 'park',
    arrival: collector.delivery(0),
    reason: { code: 'E_NOT_REGISTERED', reason: 'nobody' },
  });
  expect(lines).toEqual([{ queue: 'news', code: 'E_NOT_REGISTERED', reason: 'nobody' }]);
  expect(await broker.deadLetters.count()).toBe(0);
});

test('a consumer that leaves the queue hears nothing until it takes it again', async () => {
  const broker = await open();
  const collector = await Collector.open(await open(), { news: 9, other: 9 });
  const stays = await Collector.open(await open(), { other: 9 });
  await collector.consumer.change({ queues: [{ name: 'other', credit: 9 }], credit: 9 });
  await send(broker, outgoing('news', 'missed'));
  await heardAll(broker, collector, stays);
  await collector.consumer.change({
    queues: [
      { name: 'news', credit: 9 },
      { name: 'other', credit: 9 },
    ],
    credit: 18,
  });
  await send(broker, outgoing('news', 'heard'));
  await collector.got(2);
  expect(idsOf(collector)).toEqual(['mark', 'heard']);
});

test('a consumer that is behind holds so many and so many bytes, and says what it misses', async () => {
  const missed: unknown[] = [];
  const logger = {
    ...silentLogger,
    warn: (facts: { missed?: number }) => void (facts.missed !== undefined && missed.push(facts.missed)),
  } as Logger;
  const broker = await open();
  const collector = await Collector.open(broker, { news: 1, other: 9 }, { logger });
  const many = Array.from({ length: BROADCAST_LIMITS.messages + 25 }, (_, index) => outgoing('news', `m${index}`));
  await send(broker, ...many);
  await collector.got(1);
  await heardAll(broker, collector);
  expect(missed).toEqual([1, 10]);
  // the next test's space begins empty: what is here goes with its consumer
  await collector.consumer.close({ timeoutMs: 1_000 });

  const half = message('large', { body: { encoding: 'utf8', data: 'x'.repeat(BROADCAST_LIMITS.bytes / 2) } });
  const second = await Collector.open(broker, { news: 9 }, { logger });
  const large = { to: { queue: 'news' }, message: half };
  await send(broker, large, large, large);
  await second.got(2);
  await until(() => missed.length === 3, 'the third to be missed');
  await second.ack(second.delivery(0));
  await send(broker, large);
  await second.got(3);
});

test('a consumer that closes says how many broadcasts go with it, and hands back none of them', async () => {
  const lost: unknown[] = [];
  const logger = { ...silentLogger, warn: (facts: object) => void lost.push(facts) } as Logger;
  const broker = await open();
  const collector = await Collector.open(broker, { news: 1 }, { logger });
  await send(broker, outgoing('news', 'a'), outgoing('news', 'b'), outgoing('news', 'c'));
  await collector.got(1);
  expect(await collector.consumer.close({ timeoutMs: 1_000 })).toBe(0);
  expect(lost).toEqual([{ count: 3 }]);
});

test('a dedupe key is refused, and a send that was aborted is not sent', async () => {
  const broker = await open();
  const keyed = outgoing('news', 'a', { dedupe: { key: 'k', ttlMs: 1_000 } });
  expect(await send(broker, keyed)).toMatchObject([{ code: 'E_NOT_SUPPORTED', outcome: 'not-sent', taskId: 'a' }]);
  const aborted = { timeoutMs: 1_000, signal: AbortSignal.abort(new Error('enough')) };
  expect(await broker.publish([outgoing('news', 'a')], aborted)).toMatchObject([{ outcome: 'not-sent', taskId: 'a' }]);
});
