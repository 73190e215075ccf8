/** Exchanges on brokers that have none: which queues get a copy, and what is said when none does. With Python: `tests/interop/exchanges.test.ts`. */
import { afterEach, expect, test } from 'vitest';
import { PublishError } from '../core/errors.js';
import { silentLogger } from '../core/logger.js';
import { message, outgoing } from '../testing/conformance/broker-kit.js';
import type { Broker, OutgoingMessage } from './broker.js';
import { withExchangeCopies } from './exchange-copies.js';
import { openBroker } from './from-url.js';
import type { QueueDeclaration, QueueTable } from './queue-table.js';

const row = (
  exchange: string,
  exchangeType: QueueDeclaration['exchangeType'],
  routingKey: string,
  more = {},
): QueueDeclaration => ({
  ...{ exchange, exchangeType, routingKey, arguments: {} },
  ...more,
});
const TABLE: QueueTable = {
  queues: {
    video: row('media', 'topic', 'media.video'),
    all: row('media', 'topic', 'media.#'),
    twin: row('pair', 'direct', 'k'),
    brother: row('pair', 'direct', 'k'),
    archive: row('news', 'fanout', ''),
    live: row('news', 'fanout', 'celery', { broadcast: true }),
    tenant: row('tenants', 'headers', '', { bindingArguments: { tenant: 'acme' } }),
  },
  defaultType: null,
};
let count = 0;
let broker: Broker;
afterEach(() => broker?.close());

const open = (): Promise<Broker> =>
  openBroker({ url: `memory:copies-${(count += 1)}`, queues: TABLE, logger: silentLogger, role: 'client' });
const to = (exchange: string, routingKey: string, id = 'a'): OutgoingMessage => ({
  ...{ to: { queue: 'x', exchange, routingKey }, message: message(id) },
});
const send = (...messages: OutgoingMessage[]) => broker.publish(messages, { timeoutMs: 5_000 });
async function found(...queues: string[]): Promise<Record<string, string[]>> {
  const entries = queues.map(async (queue) => {
    const shown = await broker.peek(queue, 10);
    return [queue, shown.map((one) => ('message' in one ? String(one.message.headers['id']) : '?'))] as const;
  });
  return Object.fromEntries(await Promise.all(entries));
}

test('each queue gets a copy whose key fits: by topic, by name, and from a fanout all', async () => {
  broker = await open();
  const heard: string[] = [];
  await broker.listen('news', '#', ({ message: { headers } }) => heard.push(String(headers['id'])));
  const sent = [
    ...[to('media', 'media.video', 'v'), outgoing('plain', 'p'), to('media', 'media.audio', 'm')],
    ...[to('pair', 'k', 'k'), to('news', '', 'n')],
  ];
  expect(await send(...sent)).toEqual([null, null, null, null, null]);
  expect(await found('video', 'all', 'twin', 'brother', 'archive', 'plain', 'live')).toEqual({
    ...{ video: ['v'], all: ['v', 'm'], twin: ['k'], brother: ['k'], archive: ['n'], plain: ['p'], live: [] },
  });
  // those who listen for themselves get theirs beside the queue that keeps it
  expect(heard).toEqual(['n']);
});

test('what no queue is bound to is not sent, and neither is what would be several under one dedupe key', async () => {
  broker = await open();
  const dedupe = { key: 'k', ttlMs: 1_000 };
  expect(
    await send(
      ...[to('media', 'print'), to('pair', 'other'), to('nowhere', 'k'), to('tenants', '')],
      { ...to('pair', 'k', 'twice'), dedupe },
      { ...to('media', 'media.audio', 'once'), dedupe },
    ),
  ).toMatchObject([
    ...Array.from({ length: 3 }, () => ({ code: 'E_QUEUE_MISSING', outcome: 'not-sent', taskId: 'a' })),
    { code: 'E_NOT_SUPPORTED', message: expect.stringContaining('amqp://') },
    { code: 'E_NOT_SUPPORTED', taskId: 'twice' },
    null,
  ]);
  expect(await found('all', 'twin')).toEqual({ all: ['once'], twin: [] });
});

/** A driver that Python shares, with bindings of others. */
function shared(publish: Broker['publish'], bindings: Broker['bindings']): Broker {
  const capabilities = { celery: true, queueDeclarations: 'no' };
  return withExchangeCopies({ capabilities, publish, bindings, close: async () => {} } as unknown as Broker, TABLE);
}

test('queues that others have bound get copies too; each queue one, read once a batch', async () => {
  const asked: string[] = [];
  const queues: string[] = [];
  broker = shared(
    async (messages) => {
      queues.push(...messages.map(({ to: { queue } }) => queue));
      return messages.map(() => null);
    },
    async (exchange) => {
      asked.push(exchange);
      return [
        { queue: 'python', routingKey: '*.video' },
        { queue: 'video', routingKey: 'media.video' },
      ];
    },
  );
  expect(await send(to('media', 'media.video', 'a'), to('media', 'media.video', 'b'))).toEqual([null, null]);
  expect(queues).toEqual(['video', 'all', 'python', 'video', 'all', 'python']);
  expect(asked).toEqual(['media']);
});

test('a fanout to queues is refused where Python shares the broker, which only tells who listens', async () => {
  broker = shared(async (messages) => messages.map(() => null), undefined);
  expect(await send(to('news', ''))).toMatchObject([
    { code: 'E_NOT_SUPPORTED', outcome: 'not-sent', message: expect.stringContaining('broadcast: true') },
  ]);
});

test('a send of which only some copies arrived is unknown, and bindings that cannot be read are told', async () => {
  const refusal = new PublishError('E_BROKER_FULL', 'full', { outcome: 'not-sent', taskId: 'a' });
  let results: readonly (PublishError | null)[] = [null, refusal];
  broker = shared(
    async () => results,
    async () => [],
  );
  expect(await send(to('media', 'media.video'))).toMatchObject([{ code: 'E_BROKER_FULL', outcome: 'unknown', taskId: 'a' }]);
  results = [refusal, refusal];
  expect(await send(to('media', 'media.video'))).toMatchObject([{ code: 'E_BROKER_FULL', outcome: 'not-sent' }]);
  broker = shared(
    async () => [],
    () => Promise.reject(new Error('away')),
  );
  expect(await send(to('media', 'media.video'))).toMatchObject([{ code: 'E_BROKER_UNREACHABLE', outcome: 'not-sent' }]);
});
