/** Messages with dedupe keys while connections break, on a scripted connection: what is sent again, and what is said of it. */
import { expect, test } from 'vitest';
import { RedisLinkError, type RedisReply } from '../../clients/redis.js';
import { outgoing } from '../../testing/conformance/broker-kit.js';
import type { OutgoingMessage } from '../broker.js';
import { NO_QUEUE_TABLE } from '../queue-table.js';
import type { RedisLinks } from './connection.js';
import { redisKeys } from './keys.js';
import { RedisOncePublisher } from './publish-once.js';

const keyed = (id: string, ttlMs = 60_000): OutgoingMessage => outgoing('q', id, { dedupe: { key: id, ttlMs } });
const lost = (sent: boolean): RedisLinkError => new RedisLinkError('gone', sent, undefined);

/** A connection whose answers are given one by one; beyond them it never answers. */
function setUp(answers: readonly (RedisReply | Error)[], waitReplicas = 0) {
  const left = [...answers];
  const ran: unknown[][] = [];
  let isReady = true;
  const answer = (): Promise<RedisReply> => {
    const next = left.shift();
    if (next === undefined) return new Promise(() => {});
    return next instanceof Error ? Promise.reject(next) : Promise.resolve(next);
  };
  const links = {
    keys: redisKeys('', 0),
    queues: NO_QUEUE_TABLE,
    target: { label: 'redis', waitReplicas },
    onSendingUp: () => {},
    sending: {
      get isReady() {
        return isReady;
      },
      lastError: null,
      whenReady: (_timeoutMs: number, signal: AbortSignal) =>
        isReady
          ? Promise.resolve()
          : new Promise<void>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true })),
      run: (_script: unknown, args: unknown[]) => {
        ran.push(args);
        return answer();
      },
      call: (name: string) => (name === 'wait' ? answer() : Promise.resolve(0)),
    },
  } as unknown as RedisLinks;
  const publisher = new RedisOncePublisher(links);
  return { publisher, ran, cut: () => (isReady = false) };
}

test('a lost answer is asked for again, and one’s own key says that the message is there', async () => {
  const { publisher, ran } = setUp([lost(true), [1]]);
  expect(await publisher.publish([keyed('a')], { timeoutMs: 5_000 })).toEqual([null]);
  expect(ran).toHaveLength(2);
  expect(ran[1]?.slice(1)).toEqual(ran[0]?.slice(1));
});

test('what was not written is written to the next connection', async () => {
  const { publisher, ran } = setUp([lost(false), lost(false), [1, Buffer.from('other')]]);
  const results = await publisher.publish([keyed('a'), keyed('b')], { timeoutMs: 5_000 });
  expect(results).toMatchObject([null, { code: 'E_DUPLICATE_SEND', existingId: 'other', taskId: 'b' }]);
  expect(ran).toHaveLength(3);
});

test('once the key may have ended, its absence proves nothing: nothing is sent again, and the outcome is unknown', async () => {
  const { publisher, ran } = setUp([lost(true), [1]]);
  const results = await publisher.publish([keyed('a', 400), keyed('b')], { timeoutMs: 5_000 });
  expect(results).toMatchObject([
    { code: 'E_CONNECTION_LOST', outcome: 'unknown', taskId: 'a' },
    { code: 'E_CONNECTION_LOST', outcome: 'unknown', taskId: 'b' },
  ]);
  expect(ran).toHaveLength(1);
});

test('at its deadline a send was certainly not made only if nothing was ever written', async () => {
  const never = setUp([]);
  never.cut();
  expect(await never.publisher.publish([keyed('a')], { timeoutMs: 50 })).toMatchObject([
    { code: 'E_PUBLISH_TIMEOUT', outcome: 'not-sent' },
  ]);
  const silent = setUp([]);
  expect(await silent.publisher.publish([keyed('a')], { timeoutMs: 50 })).toMatchObject([
    { code: 'E_PUBLISH_TIMEOUT', outcome: 'unknown' },
  ]);
});

test('an abort and a close end what waits', async () => {
  const { publisher } = setUp([]);
  const controller = new AbortController();
  const aborted = publisher.publish([keyed('a')], { timeoutMs: 60_000, signal: controller.signal });
  const closed = publisher.publish([keyed('b')], { timeoutMs: 60_000 });
  await new Promise((resolve) => setImmediate(resolve));
  controller.abort(new Error('enough'));
  expect(await aborted).toMatchObject([{ code: 'E_PUBLISH_FAILED', outcome: 'unknown', taskId: 'a' }]);
  publisher.close();
  expect(await closed).toMatchObject([{ code: 'E_CLOSED', outcome: 'unknown', taskId: 'b' }]);
});

test('with wait_replicas it is confirmed once enough have it', async () => {
  const { publisher } = setUp([[1], 0, 0, 2], 2);
  expect(await publisher.publish([keyed('a')], { timeoutMs: 5_000 })).toEqual([null]);
  const short = setUp([[1], 1], 2);
  expect(await short.publisher.publish([keyed('a')], { timeoutMs: 50 })).toMatchObject([
    { code: 'E_PUBLISH_TIMEOUT', outcome: 'unknown' },
  ]);
});

test('what waits is bounded', async () => {
  const { publisher } = setUp([]);
  const messages = Array.from({ length: 12_000 }, (_, at) => keyed(`m${at}`));
  const waiting = publisher.publish(messages, { timeoutMs: 60_000 });
  const refused = await publisher.publish(messages, { timeoutMs: 60_000 });
  expect(refused.every((result) => result?.code === 'E_BROKER_FULL' && result.outcome === 'not-sent')).toBe(true);
  publisher.close();
  await waiting;
});
