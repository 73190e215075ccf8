import { describe, expect, test } from 'vitest';
import { parseRedisUrl } from './redis-url.js';

describe('parseRedisUrl', () => {
  test.each([
    [
      'redis://localhost',
      { host: 'localhost', port: 6379, db: 0, prefix: '', username: undefined, password: undefined, tls: undefined },
    ],
    ['redis://10.0.0.7:6380/3', { host: '10.0.0.7', port: 6380, db: 3 }],
    ['redis://:s%40crets@host/1', { host: 'host', db: 1, username: undefined, password: 's@crets' }],
    ['redis://me:pw@host', { username: 'me', password: 'pw' }],
    ['redis://[::1]:7000/0', { host: '::1', port: 7000 }],
    ['redis://host/0?prefix=%7Bshop%7D:', { prefix: '{shop}:' }],
    ['rediss://host', { tls: { servername: 'host', rejectUnauthorized: true } }],
    ['rediss://host?servername=other', { tls: { servername: 'other' } }],
    ['rediss://host?ssl_cert_reqs=CERT_NONE', { tls: { servername: 'host', rejectUnauthorized: false } }],
  ])('reads %s', (url, expected) => {
    expect(parseRedisUrl(url)).toMatchObject(expected);
  });

  test.each([
    [
      'sentinel://one,two:26380,[::1]:7000/3?master=mymaster',
      {
        db: 3,
        tls: undefined,
        sentinel: {
          hosts: [
            { host: 'one', port: 26379 },
            { host: 'two', port: 26380 },
            { host: '::1', port: 7000 },
          ],
          master: 'mymaster',
          username: undefined,
          password: undefined,
        },
        label: 'sentinel://one:26379,two:26380,::1:7000/3?master=mymaster',
      },
    ],
    ['redis+sentinel://me:p%40w@one/0?master=m&prefix=a:', { username: 'me', password: 'p@w', prefix: 'a:', db: 0 }],
    ['sentinel://one?master=m&sentinel_password=s&sentinel_username=u', { sentinel: { username: 'u', password: 's' } }],
    ['rediss+sentinel://one?master=m', { tls: { rejectUnauthorized: true }, sentinel: { master: 'm' } }],
    [
      'redis+cluster://me:pw@one,two:7001,[::1]:7002/?prefix={shop}:',
      {
        username: 'me',
        db: 0,
        tls: undefined,
        prefix: '{shop}:',
        sentinel: null,
        cluster: {
          hosts: [
            { host: 'one', port: 6379 },
            { host: 'two', port: 7001 },
            { host: '::1', port: 7002 },
          ],
        },
        label: 'redis+cluster://one:6379,two:7001,::1:7002/',
      },
    ],
    ['redis+cluster://one', { prefix: '{lovage}:' }],
    ['redis+cluster://one?prefix=team:{shop}:', { prefix: 'team:{shop}:' }],
    ['rediss+cluster://one', { tls: { rejectUnauthorized: true }, cluster: { hosts: [{ host: 'one', port: 6379 }] } }],
    ['redis://one/0?wait_replicas=2', { waitReplicas: 2, sentinel: null }],
  ])('reads %s', (url, expected) => {
    expect(parseRedisUrl(url)).toMatchObject(expected);
  });

  test('asks no server for a name that is an address', () => {
    for (const url of ['rediss://10.0.0.7', 'rediss://[::1]:7000', 'rediss+sentinel://one?master=m', 'rediss+cluster://one'])
      expect(parseRedisUrl(url).tls).not.toHaveProperty('servername');
  });

  test('keeps the password out of the label and of errors', () => {
    expect(parseRedisUrl('redis://me:hidden@host:1/2').label).toBe('redis://host:1/2');
    for (const url of [
      'redis://me:hidden@host/x',
      'sentinel://me:hidden@a,b/0',
      'sentinel://a/x?master=m&sentinel_password=hidden',
    ])
      expect(() => parseRedisUrl(url)).toThrow(expect.objectContaining({ message: expect.not.stringContaining('hidden') }));
  });

  test.each([
    ['redis://host/zero', /database "zero" is not a number/],
    ['redis://host?prefx=a', /unknown option "prefx"; known are prefix/],
    ['http://host', /scheme is http:/],
    ['redis://host:port', /not a URL/],
    ['sentinel://one,two/0', /add \?master=NAME/],
    ['sentinel://one,two:port/0?master=m', /not a URL/],
    ['redis://one,two/0', /names several servers/],
    ['redis+cluster://one/1', /only the database 0/],
    ['redis+cluster://one?prefix=shop:', /has no hash tag.*write prefix=\{shop\}:/],
    ['redis+cluster://one?prefix={}shop:', /has no hash tag/],
    ['redis+cluster://one?prefix={{shop', /has no hash tag/],
    ['redis+cluster://one?master=m', /unknown option "master"/],
    ['redis://host?master=m', /unknown option "master"/],
    ['redis://host?wait_replicas=-1', /use a number from 0/],
    ['rediss://host?ssl_cert_reqs=maybe', /use required, optional or none/],
    ['rediss://host?ssl_ca_certs=/nowhere/ca.pem', /cannot read ssl_ca_certs/],
    ['rediss://host?ssl_certfile=/nowhere/cert.pem', /ssl_certfile and ssl_keyfile belong together/],
    ['redis://host?ssl_ca_certs=ca.pem', /ssl_ca_certs has no meaning without TLS: write rediss:/],
    ['sentinel://host?master=m&servername=a', /servername has no meaning without TLS: write rediss\+sentinel:/],
  ])('refuses %s and says why', (url, why) => {
    expect(() => parseRedisUrl(url)).toThrow(
      expect.objectContaining({ code: 'E_CONFIG_URL', message: expect.stringMatching(why) }),
    );
  });
});
