import { describe, expect, test } from 'vitest';
import { WireError } from '../core/errors.js';
import { decodeEvents, encodeEvent, encodeEventBatch, eventRoutingKey, type WireEvent } from './event-message.js';
import type { WireMessage } from './message.js';

const EVENT: WireEvent = { type: 'worker-elect-ack', hostname: 'w1@h', timestamp: 1.5, clock: 3, utcoffset: 0, pid: 1, id: 'x' };
const message = (data: string): WireMessage => ({ ...encodeEvent(EVENT).message, body: { encoding: 'utf8', data } });

describe('events', () => {
  test('one event goes out alone under its type, several as an array', () => {
    const alone = encodeEvent(EVENT);
    expect(alone).toMatchObject({
      exchange: 'celeryev',
      routingKey: 'worker.elect.ack',
      message: { headers: { hostname: 'w1@h' }, properties: { delivery_mode: 1 } },
    });
    expect(decodeEvents(alone.message)).toEqual({ events: [EVENT], refused: 0 });
    const batch = encodeEventBatch([EVENT, { ...EVENT, clock: 4 }], { hostname: 'w1@h' });
    expect(batch.routingKey).toBe('task.multi');
    expect(decodeEvents(batch.message).events.map((event) => event.clock)).toEqual([3, 4]);
    expect(eventRoutingKey('task-sent')).toBe('task.sent');
  });

  test('an empty array is read; one broken event does not cost the others', () => {
    expect(decodeEvents(message('[]'))).toEqual({ events: [], refused: 0 });
    const mixed = `[${JSON.stringify(EVENT)},null,[],{"type":"x"},{"hostname":"h"},{"type":"","hostname":"h"},{"type":"t","hostname":"h"}]`;
    expect(decodeEvents(message(mixed))).toEqual({
      events: [EVENT, { type: 't', hostname: 'h', timestamp: 0, clock: 0, utcoffset: 0 }],
      refused: 5,
    });
  });

  test.each(['5', 'null', '"x"', 'garbage'])('%s is no event message', (data) => {
    expect(() => decodeEvents(message(data))).toThrow(WireError);
  });
});
