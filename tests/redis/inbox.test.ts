/** What inboxes leave on Redis: kombu's keys with kombu's names, bounded, and nothing for ever. */
import { describe, expect, test } from 'vitest';
import { INBOX_LIMITS } from '../../src/brokers/broker.js';
import { crashRedisBroker } from '../../src/brokers/redis/index.js';
import { message, until } from '../../src/testing/conformance/broker-kit.js';
import { redisSuite } from './redis-kit.js';

const REPLIES = 'reply.celery.pidbox';
const BINDING = `_kombu.binding.${REPLIES}`;
const memberOf = (id: string): string => `${id}\x06\x16\x06\x16${id}.${REPLIES}`;

redisSuite('redis inboxes', (kit) => {
  describe('an inbox', () => {
    test('is bound as kombu binds a reply queue, and leaves no key once it is closed', async () => {
      const broker = await kit.broker();
      const inbox = await broker.openInbox(REPLIES, () => {});
      expect(await kit.admin.smembers(BINDING)).toEqual([memberOf(inbox.address.routingKey)]);
      await inbox.close();
      expect(await kit.admin.keys('*')).toEqual([]);
    });

    test('hears what a Python worker would push into its list', async () => {
      const broker = await kit.broker();
      const heard: unknown[] = [];
      const { address } = await broker.openInbox(REPLIES, (reply) => heard.push(reply.headers));
      const envelope = {
        body: Buffer.from('{"celery@h": {"ok": "pong"}}').toString('base64'),
        'content-encoding': 'utf-8',
        'content-type': 'application/json',
        headers: { clock: 5, ticket: 't' },
        properties: {
          delivery_mode: 1,
          delivery_info: { exchange: REPLIES, routing_key: address.routingKey },
          priority: 0,
          body_encoding: 'base64',
          delivery_tag: 'x',
        },
      };
      await kit.admin.lpush(`${address.routingKey}.${REPLIES}`, '{"no": "envelope"}', JSON.stringify(envelope));
      await until(() => heard.length > 0, 'the reply');
      expect(heard).toEqual([{ clock: 5, ticket: 't' }]);
    });

    test('of a client that was killed expires within a minute, list, binding and all', async () => {
      const [client, worker] = [await kit.broker(), await kit.broker()];
      const { address } = await client.openInbox(REPLIES, () => {});
      await crashRedisBroker(client);
      await worker.sendReply(address, message('x'));
      const keys = await kit.admin.keys('*');
      expect(keys.sort()).toEqual([BINDING, `${address.routingKey}.${REPLIES}`, `lovage:inboxes:${REPLIES}`].sort());
      for (const key of keys) {
        const leftMs = await kit.admin.pttl(key);
        expect(leftMs).toBeGreaterThan(0);
        expect(leftMs).toBeLessThanOrEqual(INBOX_LIMITS.ttlMs);
      }
    });

    test('of a client that was killed leaves the shared binding when others keep that alive', async () => {
      const [client, other] = [await kit.broker(), await kit.broker()];
      const dead = await client.openInbox(REPLIES, () => {});
      await crashRedisBroker(client);
      // as if its minute were over
      await kit.admin.zadd(`lovage:inboxes:${REPLIES}`, 1, memberOf(dead.address.routingKey));
      const alive = await other.openInbox(REPLIES, () => {});
      expect(await kit.admin.smembers(BINDING)).toEqual([memberOf(alive.address.routingKey)]);
      expect(await kit.admin.zrange(`lovage:inboxes:${REPLIES}`, 0, '-1')).toEqual([memberOf(alive.address.routingKey)]);
    });

    test('leaves the bindings of Python clients alone', async () => {
      const broker = await kit.broker();
      await kit.admin.sadd(BINDING, memberOf('python'));
      await (await broker.openInbox(REPLIES, () => {})).close();
      expect(await kit.admin.smembers(BINDING)).toEqual([memberOf('python')]);
    });
  });

  describe('a reply', () => {
    test('goes into the queue of a Python client, and nowhere when that is not bound', async () => {
      const worker = await kit.broker();
      await worker.sendReply({ exchange: REPLIES, routingKey: 'gone' }, message('x'));
      expect(await kit.admin.keys('*')).toEqual([]);
      await kit.admin.sadd(BINDING, memberOf('python'));
      await worker.sendReply({ exchange: REPLIES, routingKey: 'python' }, message('x'));
      expect(await kit.admin.llen(`python.${REPLIES}`)).toBe(1);
      expect(await kit.admin.pttl(`python.${REPLIES}`)).toBeGreaterThan(0);
    });

    test('is dropped when nobody reads: an inbox holds so many, and so many bytes', { timeout: 30_000 }, async () => {
      const worker = await kit.broker();
      await kit.admin.sadd(BINDING, memberOf('many'), memberOf('large'));
      const many = Array.from({ length: INBOX_LIMITS.messages + 50 }, () =>
        worker.sendReply({ exchange: REPLIES, routingKey: 'many' }, message('x')),
      );
      await Promise.all(many);
      expect(await kit.admin.llen(`many.${REPLIES}`)).toBe(INBOX_LIMITS.messages);
      const data = 'x'.repeat(9 * 1024 * 1024);
      for (let count = 0; count < 8; count += 1)
        await worker.sendReply({ exchange: REPLIES, routingKey: 'large' }, message('x', { body: { encoding: 'utf8', data } }));
      // 12 MiB each in base64, and up to 16 in the server's memory
      const held = await kit.admin.llen(`large.${REPLIES}`);
      expect(held).toBeGreaterThanOrEqual(3);
      expect(held).toBeLessThanOrEqual(5);
    });
  });
});
