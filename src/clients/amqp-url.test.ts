import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { codeOf } from '../core/errors.js';
import { parseAmqpUrl, withHeartbeat } from './amqp-url.js';

const refusal = (url: string): { code: unknown; message: string } => {
  try {
    parseAmqpUrl(url);
  } catch (error) {
    return { code: codeOf(error), message: (error as Error).message };
  }
  throw new Error(`${url} was accepted`);
};

describe('amqp URLs', () => {
  test('keep user, host, port and virtual host, also in Celery’s form with two slashes', () => {
    expect(parseAmqpUrl('amqp://me:s%40crt@mq.example:5673/shop').urls).toEqual([
      'amqp://me:s%40crt@mq.example:5673/shop?heartbeat=10',
    ]);
    expect(parseAmqpUrl('amqp://guest@localhost//').urls).toEqual(['amqp://guest@localhost//?heartbeat=10']);
    expect(parseAmqpUrl('amqp://localhost').urls).toEqual(['amqp://localhost?heartbeat=10']);
  });

  test('may name several hosts, tried in turn', () => {
    expect(parseAmqpUrl('amqp://a/v;amqps://b/v').urls).toEqual(['amqp://a/v?heartbeat=10', 'amqps://b/v?heartbeat=10']);
  });

  test('with several hosts have options once, at any of them', () => {
    const options = { urls: ['amqp://a/?heartbeat=5', 'amqp://b/?heartbeat=5'], options: { queueType: 'quorum' } };
    expect(parseAmqpUrl('amqp://a/?heartbeat=5&queue_type=quorum;amqp://b/')).toMatchObject(options);
    expect(parseAmqpUrl('amqp://a/;amqp://b/?heartbeat=5&queue_type=quorum')).toMatchObject(options);
    expect(refusal('amqp://a/?heartbeat=5;amqp://b/?heartbeat=6').message).toContain('heartbeat is 5 and 6');
    expect(refusal('amqp://a/;amqp://b/?hartbeat=6').message).toContain('unknown option hartbeat');
  });

  test('give way to a connection that needs a heartbeat of its own', () => {
    const target = withHeartbeat(parseAmqpUrl('amqp://a/v?heartbeat=0&queue_type=quorum;amqps://b/v'), 2);
    expect(target.urls).toEqual(['amqp://a/v?heartbeat=2', 'amqps://b/v?heartbeat=2']);
    expect(target.options.queueType).toBe('quorum');
  });

  test('are shown without password and options', () => {
    expect(parseAmqpUrl('amqp://me:secret@mq/shop?heartbeat=5').shown).toBe('amqp://mq/shop');
    expect(parseAmqpUrl('amqp://me:secret@a/shop;amqp://me:secret@b:5673').shown).toBe('amqp://a/shop;amqp://b:5673');
  });

  test('take options of ours, and RabbitMQ’s own names for the others', () => {
    expect(parseAmqpUrl('amqp://mq').options).toEqual({
      maxPriority: null,
      queueType: null,
      consumerTimeoutMs: 1_800_000,
    });
    expect(parseAmqpUrl('amqp://mq?max_priority=9').options).toMatchObject({ maxPriority: 9, queueType: null });
    expect(parseAmqpUrl('amqp://mq?queue_type=quorum').options).toMatchObject({ maxPriority: null, queueType: 'quorum' });
    expect(parseAmqpUrl('amqp://mq?consumer_timeout=10s').options).toMatchObject({ consumerTimeoutMs: 10_000 });
    expect(parseAmqpUrl('amqps://mq?verify=verify_none').tls).toEqual({ rejectUnauthorized: false });
    expect(parseAmqpUrl('amqps://mq?ssl_cert_reqs=none').tls).toEqual({ rejectUnauthorized: false });
  });

  test('check the certificate unless they say otherwise, against the name that they call the server or want of it', () => {
    expect(parseAmqpUrl('amqps://mq').tls).toEqual({ rejectUnauthorized: true });
    expect(parseAmqpUrl('amqps://10.0.0.1?servername=mq.internal').tls).toEqual({
      rejectUnauthorized: true,
      servername: 'mq.internal',
    });
    expect(parseAmqpUrl('amqp://a;amqps://b?verify=verify_peer').tls).toEqual({ rejectUnauthorized: true });
    expect(parseAmqpUrl('amqp://mq').tls).toBeNull();
  });

  describe('with certificates', () => {
    let folder: string;
    beforeAll(() => {
      folder = mkdtempSync(join(tmpdir(), 'lovage-url-'));
      writeFileSync(join(folder, 'ca.pem'), 'CA');
    });
    afterAll(() => rmSync(folder, { recursive: true }));

    test('read them at once, and say which file is missing', () => {
      for (const name of ['cacertfile', 'ssl_ca_certs'])
        expect(parseAmqpUrl(`amqps://mq?${name}=${folder}/ca.pem`).tls).toMatchObject({ ca: Buffer.from('CA') });
      const both = `certfile=${folder}/ca.pem&keyfile=${folder}/none.pem`;
      expect(refusal(`amqps://mq?${both}`)).toMatchObject({
        code: 'E_CONFIG_URL',
        message: expect.stringContaining('cannot read ssl_keyfile'),
      });
    });
  });

  test.each([
    ['amqp://me:secret@mq?max_prioritty=9', /unknown option max_prioritty; known are max_priority/],
    ['amqp://me:secret@mq?max_priority=0', /max_priority is "0"/],
    ['amqp://me:secret@mq?max_priority=9&queue_type=quorum', /no effect on quorum queues/],
    ['amqp://me:secret@mq?queue_type=stream', /use classic or quorum/],
    ['amqp://me:secret@mq?heartbeat=often', /heartbeat is "often"/],
    ['amqp://me:secret@mq?consumer_timeout=1800000', /consumer_timeout is "1800000"/],
    ['amqp://me:secret@mq?consumer_timeout=10ms', /a second or more/],
    ['amqps://me:secret@mq?verify=maybe', /verify_peer or verify_none/],
    ['amqps://me:secret@mq?ssl_cert_reqs=maybe', /use required, optional or none/],
    ['amqps://me:secret@mq?verify=verify_none&ssl_cert_reqs=required', /two names of one option/],
    ['amqps://me:secret@mq?ssl_certfile=/ours.pem', /belong together/],
    ['amqp://me:secret@mq?verify=verify_peer', /no meaning without TLS: write amqps/],
    ['amqp://me:secret@mq?ssl_ca_certs=/ca.pem', /no meaning without TLS: write amqps/],
    ['amqp://me:secret@mq;redis://other', /is not amqp: or amqps:/],
    ['amqp://me:secret@:1', /malformed/],
    ['amqp:', /names no host/],
    ['', /empty/],
  ])('%s is refused without showing its password', (url, why) => {
    expect(refusal(url)).toMatchObject({ code: 'E_CONFIG_URL', message: expect.stringMatching(why) });
    expect(refusal(url).message).not.toContain('secret');
  });
});
