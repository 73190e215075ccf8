import { describe, expect, test } from 'vitest';
import { codeOf } from '../core/errors.js';
import { silentLogger } from '../core/logger.js';
import { type AppOptions, resolveConfig } from './config.js';
import { CONFIG_SCHEMA } from './config-schema.js';

const resolve = (options: AppOptions, env: Record<string, string> = {}) => resolveConfig(options, env);
const refusal = (options: unknown, env: Record<string, string> = {}): Error => {
  try {
    resolveConfig(options as AppOptions, env);
  } catch (error) {
    return error as Error;
  }
  throw new Error('the options were accepted');
};

describe('resolveConfig', () => {
  test('fills in every default', () => {
    const config = resolve({});
    expect(config).toMatchObject({
      name: 'lovage',
      brokerUrl: 'file:./.lovage/queue.db',
      resultUrl: 'file:./.lovage/queue.db',
      defaultQueue: 'lovage',
      resultTtlMs: 86_400_000,
      maxMessageSize: 1_048_576,
      json: 'tagged',
      sendTimeoutMs: 5_000,
      maxPendingSends: 100_000,
    });
  });

  test('takes the option before the environment and the environment before the default', () => {
    const env = { LOVAGE_BROKER_URL: 'redis://from-env', LOVAGE_RESULT_URL: 'memory:env' };
    expect(resolve({ broker: 'memory:code' }, env).brokerUrl).toBe('memory:code');
    expect(resolve({ broker: undefined }, env).brokerUrl).toBe('redis://from-env');
    expect(resolve({}, env).resultUrl).toBe('memory:env');
    expect(resolve({}, { LOVAGE_BROKER_URL: '' }).brokerUrl).toBe('file:./.lovage/queue.db');
  });

  test('finds the result store that fits the broker', () => {
    expect(resolve({ broker: 'redis://h:1/2' }).resultUrl).toBe('redis://h:1/2');
    expect(resolve({ broker: 'amqp://h' }).resultUrl).toBe('rpc:amqp://h');
    expect(resolve({ broker: 'amqp://h', results: 'rpc:' }).resultUrl).toBe('rpc:amqp://h');
    expect(resolve({ broker: 'amqp://h', results: 'redis://r' }).resultUrl).toBe('redis://r');
  });

  test('writes fileSync into the URL of a file broker only', () => {
    expect(resolve({ broker: 'file:q.db', fileSync: 'normal' })).toMatchObject({
      brokerUrl: 'file:q.db?sync=normal',
      resultUrl: 'file:q.db?sync=normal',
    });
    expect(resolve({ broker: 'file:q.db?sync=full', fileSync: 'normal' }).brokerUrl).toBe('file:q.db?sync=full');
    expect(resolve({ broker: 'redis://h', fileSync: 'normal' }).brokerUrl).toBe('redis://h');
  });

  test('keeps results for ever with resultTtl: false', () => {
    expect(resolve({ resultTtl: false }).resultTtlMs).toBeNull();
    expect(resolve({ resultTtl: '2h' }).resultTtlMs).toBe(7_200_000);
  });

  test('uses the logger that was given', () => {
    expect(resolve({ logger: silentLogger }).logger).toBe(silentLogger);
  });

  test('answers an unknown key with the nearest one', () => {
    const error = refusal({ defaultQueu: 'x' });
    expect(codeOf(error)).toBe('E_CONFIG_UNKNOWN_KEY');
    expect(error.message).toBe('createApp() has no option "defaultQueu": did you mean "defaultQueue"?');
    expect(refusal({ zzzzzzzzzz: 1 }).message).toContain('it has name, broker');
  });

  test.each([
    [null, 'E_CONFIG_TYPE', 'null'],
    [[], 'E_CONFIG_TYPE', 'an array'],
    [{ name: 5 }, 'E_CONFIG_TYPE', 'name is a number'],
    [{ name: '' }, 'E_CONFIG_RANGE', 'empty'],
    [{ broker: 'localhost' }, 'E_CONFIG_URL', 'starts with its scheme'],
    [{ results: 'nowhere' }, 'E_CONFIG_URL', 'results'],
    [{ defaultQueue: 'q'.repeat(256) }, 'E_CONFIG_RANGE', '255 bytes'],
    [{ resultTtl: 5 }, 'E_CONFIG_RANGE', 'duration'],
    [{ sendTimeout: '5' }, 'E_CONFIG_RANGE', 'sendTimeout'],
    [{ sendTimeout: '0s' }, 'E_CONFIG_RANGE', 'sendTimeout'],
    [{ maxMessageSize: 0 }, 'E_CONFIG_RANGE', 'whole number'],
    [{ maxMessageSize: '1m' }, 'E_CONFIG_TYPE', 'a number'],
    [{ maxPendingSends: 1.5 }, 'E_CONFIG_RANGE', 'whole number'],
    [{ json: 'both' }, 'E_CONFIG_RANGE', "'tagged' or 'plain'"],
    [{ routes: [] }, 'E_CONFIG_TYPE', 'routes'],
    [{ routes: { a: 'slow' } }, 'E_CONFIG_TYPE', 'routes["a"]'],
    [{ routes: { a: { que: 'slow' } } }, 'E_CONFIG_UNKNOWN_KEY', 'did you mean "queue"'],
    [{ routes: { a: { priority: 10 } } }, 'E_CONFIG_RANGE', 'from 0 (last) to 9'],
    [{ logger: console }, 'E_CONFIG_TYPE', 'child()'],
    [{ middleware: {} }, 'E_CONFIG_TYPE', 'an array'],
    [{ middleware: [{ name: 'x', publis: () => {} }] }, 'E_CONFIG_UNKNOWN_KEY', '"publish"'],
    [{ middleware: [{ publish: () => {} }] }, 'E_CONFIG_TYPE', 'no name'],
    [{ middleware: [{ name: 'x', execute: 5 }] }, 'E_CONFIG_TYPE', 'not a function'],
  ])('refuses %j with %s', (options, code, text) => {
    const error = refusal(options);
    expect(codeOf(error)).toBe(code);
    expect(error.message).toContain(text);
  });

  test('every option of the table is an option of createApp and has words', () => {
    for (const [key, entry] of Object.entries(CONFIG_SCHEMA)) {
      expect(entry.doc.length, key).toBeGreaterThan(20);
      expect(() => resolve({ [key]: undefined } as AppOptions)).not.toThrow();
    }
  });
});
