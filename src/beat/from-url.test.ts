/** Where schedules are kept when nobody says it. */
import { expect, test } from 'vitest';
import { codeOf } from '../core/errors.js';
import { beatStoreUrl } from './from-url.js';

test.each([
  ['memory:a', 'memory:b', 'memory:a'],
  ['file:a.db', 'redis://r', 'file:a.db'],
  ['redis://r', 'file:a.db', 'redis://r'],
  ['amqp://q', 'redis://r', 'redis://r'],
  ['amqps://q', 'file:a.db', 'file:a.db'],
  ['amqp://q', 'postgresql://p/shop', 'postgresql://p/shop'],
  ['amqp://q', 'rpc:amqp://q', 'amqp://q'],
  ['amqp://q;amqp://other', 'rpc:amqp://q', 'amqp://q;amqp://other'],
  // each process would have memory of its own, and lead
  ['amqp://q', 'memory:b', 'amqp://q'],
])('with the broker %s and results at %s schedules are kept at %s', (brokerUrl, resultUrl, place) => {
  expect(beatStoreUrl({ brokerUrl, resultUrl })).toBe(place);
});

test('what is no place for schedules is refused', () => {
  try {
    beatStoreUrl({ brokerUrl: 'sqs://q', resultUrl: 'rpc:sqs://q' });
    expect.unreachable();
  } catch (error) {
    expect(codeOf(error)).toBe('E_CONFIG_CONFLICT');
  }
});
