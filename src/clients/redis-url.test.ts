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
    ['rediss://host?ssl_cert_reqs=CERT_NONE', { tls: { servername: 'host', rejectUnauthorized: false } }],
  ])('reads %s', (url, expected) => {
    expect(parseRedisUrl(url)).toMatchObject(expected);
  });

  test('keeps the password out of the label and of errors', () => {
    expect(parseRedisUrl('redis://me:hidden@host:1/2').label).toBe('redis://host:1/2');
    expect(() => parseRedisUrl('redis://me:hidden@host/x')).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('hidden') }),
    );
  });

  test.each([
    ['redis://host/zero', /database "zero" is not a number/],
    ['redis://host?prefx=a', /unknown option "prefx"; known are prefix/],
    ['http://host', /scheme is http:/],
    ['redis://host:port', /not a URL/],
    ['rediss://host?ssl_cert_reqs=maybe', /use required, optional or none/],
    ['rediss://host?ssl_ca_certs=/nowhere/ca.pem', /cannot read ssl_ca_certs/],
  ])('refuses %s and says why', (url, why) => {
    expect(() => parseRedisUrl(url)).toThrow(
      expect.objectContaining({ code: 'E_CONFIG_URL', message: expect.stringMatching(why) }),
    );
  });
});
