/** What PostgreSQL URLs mean, and how wrong ones are refused. */
import { describe, expect, test } from 'vitest';
import { parsePostgresUrl } from './postgres-url.js';

test('a whole URL says where, who, what schema and how many connections', () => {
  expect(parsePostgresUrl('postgresql://app:p%40ss@db.internal:6432/shop%2Fa?schema=shop&pool_max=9')).toEqual({
    ...{ host: 'db.internal', port: 6432, user: 'app', password: 'p@ss', database: 'shop/a', schema: 'shop', poolMax: 9 },
    ...{ tls: undefined, label: 'postgresql://db.internal:6432/shop/a' },
  });
});

test('what is left out has a default, or is left to the library', () => {
  expect(parsePostgresUrl('postgres://')).toMatchObject({
    ...{ host: 'localhost', port: 5432, user: undefined, password: undefined, database: undefined },
    ...{ schema: 'lovage', poolMax: 4, tls: undefined },
  });
  expect(parsePostgresUrl('postgresql:///shop?host=/var/run/postgresql')).toMatchObject({
    ...{ host: '/var/run/postgresql', database: 'shop' },
  });
  expect(parsePostgresUrl('postgresql://[::1]:5433/x')).toMatchObject({ host: '::1', port: 5433 });
});

describe('TLS', () => {
  const tlsOf = (query: string) => parsePostgresUrl(`postgresql://app@db/shop?${query}`).tls;

  test('is checked as far as sslmode says', () => {
    expect(tlsOf('sslmode=disable')).toBeUndefined();
    expect(tlsOf('sslmode=require')).toMatchObject({ rejectUnauthorized: false });
    expect(tlsOf('sslmode=verify-ca')?.rejectUnauthorized).toBe(true);
    expect(tlsOf('sslmode=verify-ca')?.checkServerIdentity?.('other', {} as never)).toBeUndefined();
    expect(tlsOf('sslmode=verify-full')).toMatchObject({ rejectUnauthorized: true });
    expect(tlsOf('sslmode=verify-full')?.checkServerIdentity).toBeUndefined();
  });

  test('another name in the certificate is compared, and only that one', () => {
    const check = tlsOf('sslmode=verify-full&servername=db.internal')?.checkServerIdentity;
    const certificate = { subject: { CN: 'x' }, subjectaltname: 'DNS:db.internal' } as never;
    expect(check?.('db', certificate)).toBeUndefined();
    expect(check?.('db', { subject: { CN: 'x' }, subjectaltname: 'DNS:db' } as never)).toBeInstanceOf(Error);
  });
});

describe('a URL is refused with E_CONFIG_URL', () => {
  test.each([
    ['postgresql://app:secret@db/shop?shema=x', /unknown option "shema"; known are schema/],
    ['postgresql://app:secret@a,b/shop', /several servers/],
    ['postgresql://app:secret@db/shop?schema=Shop', /no plain name/],
    ['postgresql://app:secret@db/shop?schema=pg_mine', /no plain name/],
    [`postgresql://app:secret@db/shop?schema=${'s'.repeat(41)}`, /no plain name/],
    ['postgresql://app:secret@db/shop?schema=a"; DROP', /no plain name/],
    ['postgresql://app:secret@db/shop?pool_max=0', /pool_max is "0": use a number from 1 to 100/],
    ['postgresql://app:secret@db/shop?sslmode=prefer', /sslmode is "prefer": use disable, require, verify-ca, verify-full/],
    ['postgresql://app:secret@db/shop?sslrootcert=x', /no meaning without TLS/],
    ['postgresql://app:secret@db/shop?sslmode=verify-ca&sslrootcert=/nowhere', /cannot read sslrootcert/],
    ['postgresql://app:secret@db/shop?sslmode=verify-ca&sslcert=/nowhere', /sslcert and sslkey belong together/],
    ['postgresql:///shop?host=/run&sslmode=require', /no meaning on a Unix socket/],
    ['postgresql://app:secret%@db/shop', /write %25/],
    ['postgresql://app:secret@db:port/shop', /not a URL/],
    ['postgresql://app@db/shop?password=secret', /unknown option "password"/],
  ])('%s', (url, why) => {
    let message = '';
    try {
      parsePostgresUrl(url);
    } catch (error) {
      expect(error).toMatchObject({ code: 'E_CONFIG_URL' });
      message = String(error);
    }
    expect(message).toMatch(why);
    expect(message).not.toContain('secret');
  });
});
