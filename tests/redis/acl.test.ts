/** A user with the rights that the guide asks for: what it cannot do, and what still works with fewer. */
import { Redis } from 'ioredis';
import { afterEach, expect, test } from 'vitest';
import { Collector, message, sendIds, until } from '../../src/testing/conformance/broker-kit.js';
import { guideUser } from '../support/redis-acl.js';
import { redisSuite } from './redis-kit.js';

redisSuite(
  'a user of a shared server',
  (kit) => {
    const clients: Redis[] = [];
    afterEach(() => {
      for (const client of clients.splice(0)) client.disconnect();
    });
    const url = (user: string): string => `redis://${user}:secret@127.0.0.1:${kit.server.port}/0?prefix=${user}:`;
    const clientOf = (user: string): Redis => {
      const client = new Redis({
        port: kit.server.port,
        username: user,
        password: 'secret',
        protocol: 2,
        enableReadyCheck: false,
      });
      clients.push(client);
      return client;
    };

    test.each([
      ['read the queues of another app', 'lrange', 'crm:q', '0', '-1'],
      ['write into them', 'lpush', 'crm:q', 'x'],
      ['reach them by a script', 'eval', "return redis.call('LLEN', 'crm:q')", '0'],
      ['tell its workers to stop', 'publish', 'crm:/0.celery.pidbox', 'x'],
      ['listen to its events', 'psubscribe', 'crm:/0.celeryev/*'],
      ['listen to everybody', 'psubscribe', '*'],
      ['empty the server', 'flushall'],
      ['list every key', 'keys', '*'],
      ['see other clients', 'client', 'list'],
      ['change settings', 'config', 'set', 'maxmemory', '1mb'],
      ['change rights', 'acl', 'setuser', 'shop', '~*'],
      ['move keys elsewhere', 'migrate', '127.0.0.1', '1', 'shop:q', '0', '100'],
    ])('cannot %s', async (_, command, ...args) => {
      await expect(clientOf('shop').call(command, ...args)).rejects.toThrow(/NOPERM|can't access/);
    });

    test('has its own broadcasts, and hears no one else’s', async () => {
      const [shop, crm] = [await kit.broker(url('shop')), await kit.broker(url('crm'))];
      const heard: string[] = [];
      await shop.listen('celery.pidbox', '', ({ message: { headers } }) => heard.push(String(headers['id'])));
      expect(await crm.broadcast({ exchange: 'celery.pidbox', routingKey: '', message: message('theirs') })).toBe(0);
      expect(await shop.broadcast({ exchange: 'celery.pidbox', routingKey: '', message: message('own') })).toBe(1);
      await until(() => heard.length > 0, 'its own');
      expect(heard).toEqual(['own']);
    });

    test('gets tasks where it may not listen for control requests', async () => {
      await kit.admin.call('ACL', 'SETUSER', 'shop', 'resetchannels', '&shop:*', '&__redis__:invalidate');
      const broker = await kit.broker(url('shop'));
      await expect(broker.listen('celery.pidbox', '', () => {})).rejects.toThrow(/permission|NOPERM/i);
      const collector = await Collector.open(broker, { q: 5 });
      await sendIds(await kit.broker(url('shop')), 'q', ['one']);
      await collector.got(1);
    });
  },
  { args: [...guideUser('shop', 'secret', 'shop:'), ...guideUser('crm', 'secret', 'crm:')] },
);
