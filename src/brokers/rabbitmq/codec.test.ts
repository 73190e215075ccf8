/** What the broker's notes on a message say about its last holder, and what they must not be believed. */
import { describe, expect, test } from 'vitest';
import type { Message } from '../../clients/amqp.js';
import { decode } from './codec.js';

const HOLDER = '00000000-0000-4000-8000-000000000000';

const received = (headers: Record<string, unknown>): Message =>
  ({
    content: Buffer.from('[[],{},{}]'),
    fields: {},
    properties: {
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      headers: { lovage_redelivered: true, lovage_holder: HOLDER, 'x-first-death-reason': 'expired', ...headers },
    },
  }) as unknown as Message;
const death = (queue: string, reason: string, value: unknown) => ({ queue, reason, count: 1, time: { '!': 'timestamp', value } });

describe('a message that came back from a claim', () => {
  test('tells since when, later by the second that the broker cuts off, wherever else it has died since', () => {
    const deaths = [death('lovage.orphans.q', 'expired', 1_700_000_020), death('lovage.claims.x.q', 'expired', 1_700_000_000)];
    expect(decode(received({ 'x-death': deaths }))).toMatchObject({ holder: HOLDER, orphanedMs: 1_700_000_001_000 });
  });

  test.each([
    ['handed back', [death('lovage.claims.x.q', 'rejected', 1_700_000_000)]],
    ['expired in a queue of somebody’s', [death('q', 'expired', 1_700_000_000)]],
    ['not noted at all', undefined],
    ['noted as nothing that we know', 'yesterday'],
    ['noted with strange entries', [null, 7, { queue: 3 }, death('lovage.claims.x.q', 'expired', 'soon')]],
  ])('says nothing about that if it is %s', (_, deaths) => {
    expect(decode(received({ 'x-death': deaths }))).toMatchObject({ holder: HOLDER, orphanedMs: null });
  });
});
