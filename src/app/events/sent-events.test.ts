import { hostname } from 'node:os';
import { describe, expect, test } from 'vitest';
import { PublishError } from '../../core/errors.js';
import { createFakeClock } from '../../testing/fake-clock.js';
import { scriptedApp } from '../../testing/scripted-gateway.js';
import { decodeEvents, type WireEvent } from '../../wire/event-message.js';
import { MAX_SENT_EVENTS } from './sent-events.js';

const START = 1_800_000_000_000;
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function station(sendSentEvent: boolean) {
  const warnings: object[] = [];
  const log = { debug() {}, info() {}, error() {}, warn: (fields: object) => void warnings.push(fields), child: () => log };
  const { app, gateway } = scriptedApp({ sendSentEvent, logger: log }, createFakeClock(START));
  const add = app.fn('math.add', (a: number, b: number) => a + b, { queue: 'math' });
  const events = (): readonly WireEvent[] => gateway.broadcasts.flatMap(({ message }) => decodeEvents(message).events);
  return { app, gateway, add, events, warnings };
}

describe('task-sent', () => {
  test('is told of each task that the broker has confirmed, as Celery clients tell it', async () => {
    const { gateway, add, events } = station(true);
    const { id } = await add.with({ id: 'an-id', expires: '1h' }).send(2, 3);
    await turn();
    expect(gateway.broadcasts.map(({ exchange, routingKey }) => [exchange, routingKey])).toEqual([['celeryev', 'task.sent']]);
    expect(events()).toEqual([
      {
        ...{
          type: 'task-sent',
          hostname: `gen${process.pid}@${hostname()}`,
          pid: process.pid,
          clock: 1,
          timestamp: START / 1_000,
        },
        ...{
          utcoffset: expect.any(Number),
          uuid: id,
          name: 'math.add',
          args: '(2, 3)',
          kwargs: '{}',
          root_id: id,
          parent_id: null,
        },
        ...{ retries: 0, eta: null, expires: '2027-01-15T09:00:00+00:00' },
        ...{ queue: 'math', exchange: '', routing_key: 'math' },
      },
    ]);
  });

  test('is not told unless it was asked for, nor of a task that was not sent', async () => {
    const silent = station(false);
    await silent.add.send(1, 1);
    await turn();
    expect(silent.gateway.broadcasts).toEqual([]);
    const refused = station(true);
    refused.gateway.onPublish = ({ messages }) =>
      messages.map((_, index) => (index === 0 ? new PublishError('E_BROKER_FULL', 'full', { outcome: 'not-sent' }) : null));
    await Promise.allSettled([refused.add.send(1, 1), refused.add.send(2, 2)]);
    await turn();
    expect(refused.events().map(({ args }) => args)).toEqual(['(2, 2)']);
  });

  test('a send does not wait for it, and what the broker does not take is dropped, counted and said once', async () => {
    const { gateway, add, events, warnings } = station(true);
    let go: () => void = () => {};
    const stuck = new Promise<void>((resolve) => (go = resolve));
    gateway.onBroadcast = () => stuck;
    await add.sendMany(Array.from({ length: MAX_SENT_EVENTS + 50 }, (_, index) => ({ args: [index, 1] as const })));
    expect(events()).toHaveLength(MAX_SENT_EVENTS);
    expect(warnings).toEqual([{ dropped: 1 }]);
    go();
    await turn();
    gateway.onBroadcast = () => Promise.reject(new Error('away'));
    await add.send(1, 1);
    gateway.onBroadcast = async () => {};
    await add.send(7, 7);
    await turn();
    expect(events().at(-1)).toMatchObject({ args: '(7, 7)', clock: MAX_SENT_EVENTS + 2 });
    expect(warnings).toHaveLength(1);
  });
});
