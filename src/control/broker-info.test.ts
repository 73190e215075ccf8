import { describe, expect, test } from 'vitest';
import { brokerInfo, maskUrl } from './broker-info.js';

describe('a broker as stats shows it', () => {
  test.each([
    [
      'redis://:secret@redis.internal:6380/3',
      { transport: 'redis', hostname: 'redis.internal', port: 6380, virtual_host: '3', userid: null, ssl: false },
    ],
    ['rediss://me:secret@redis.internal', { transport: 'redis', port: 6379, virtual_host: '0', userid: 'me', ssl: true }],
    [
      'amqp://guest:guest@rabbit/my%2Fhost',
      { transport: 'amqp', hostname: 'rabbit', port: 5672, virtual_host: 'my/host', login_method: 'PLAIN' },
    ],
    ['amqps://rabbit', { transport: 'amqp', virtual_host: '/', ssl: true }],
    [
      'rediss+sentinel://:secret@one:26380,two,three:1/2?master=m&sentinel_password=secret',
      { transport: 'sentinel', hostname: 'one', port: 26_380, virtual_host: '2', ssl: true },
    ],
    [
      'redis+cluster://one,two:7001/?prefix={shop}:',
      { transport: 'redis', hostname: 'one', port: 6379, virtual_host: '0', ssl: false },
    ],
    ['file:./queue.db', { transport: 'file', hostname: null, port: null, virtual_host: null }],
    ['memory:', { transport: 'memory', hostname: null }],
    ['nonsense', { transport: 'unknown', hostname: null }],
  ])('%s', (url, expected) => {
    const info = brokerInfo(url);
    expect(info).toMatchObject(expected);
    expect(JSON.stringify(info)).not.toContain('secret');
  });

  test('lists the others of several URLs without their passwords', () => {
    expect(brokerInfo('amqp://a:one@first;amqp://b:two@second')).toMatchObject({
      hostname: 'first',
      alternates: ['amqp://b:********@second'],
    });
  });
});

describe('a masked URL', () => {
  test.each([
    ['redis://:p@host/0', 'redis://:********@host/0'],
    ['amqp://user:p%40ss@host', 'amqp://user:********@host'],
    ['redis://host/0?password=p&prefix=x', 'redis://host/0?password=********&prefix=x'],
    ['file:./a@b.db', 'file:./a@b.db'],
    ['redis://host:6379/0', 'redis://host:6379/0'],
  ])('%s', (url, masked) => {
    expect(maskUrl(url)).toBe(masked);
  });
});
