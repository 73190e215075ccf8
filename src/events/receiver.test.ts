import { describe, expect, test } from 'vitest';
import type { EventsOptions } from '../app/events/event-stream.js';
import type { Broadcast } from '../brokers/broker.js';
import { openMemoryBroker } from '../brokers/memory/index.js';
import { silentLogger } from '../core/logger.js';
import { decodeControlRequest } from '../wire/control-message.js';
import { encodeEvent, encodeEventBatch, type WireEvent } from '../wire/event-message.js';
import { openEvents } from './receiver.js';

const event = (type: string, n = 0): WireEvent => ({ type, hostname: 'w1@h', timestamp: 1, clock: n, utcoffset: 0, n });
let numbers = 0;

/** A stream on a memory broker of its own, and somebody who tells it things. */
async function station(options: EventsOptions = {}) {
  numbers += 1;
  const url = `memory:events-${numbers}`;
  const sender = await openMemoryBroker({ url, logger: silentLogger, role: 'client' });
  const broker = await openMemoryBroker({ url, logger: silentLogger, role: 'client' });
  const requests: string[] = [];
  await sender.listen('celery.pidbox', '#', ({ message }) => requests.push(decodeControlRequest(message).method));
  const stream = openEvents({ broker: async () => broker, logger: silentLogger }, options);
  const tell = async (...events: WireEvent[]): Promise<number | null> => {
    const [first] = events;
    return sender.broadcast(events.length === 1 && first ? encodeEvent(first) : encodeEventBatch(events, { hostname: 'w1@h' }));
  };
  const tellRaw = async (text: string): Promise<void> => {
    const { exchange, routingKey, message } = encodeEvent(event('task-started'));
    const broadcast: Broadcast = { exchange, routingKey, message: { ...message, body: { encoding: 'utf8', data: text } } };
    await sender.broadcast(broadcast);
  };
  const close = async (): Promise<void> => {
    await stream.close();
    await Promise.all([sender.close(), broker.close()]);
  };
  return { stream, sender, tell, tellRaw, requests, close };
}

/** The next so many of a stream. */
async function take(stream: AsyncIterable<WireEvent>, count: number): Promise<[string, unknown][]> {
  const got: [string, unknown][] = [];
  for await (const { type, n } of stream) if (got.push([type, n]) === count) break;
  return got;
}

describe('a stream of events', () => {
  test('gives single events and arrays in their order, and wakes workers when it begins to listen', async () => {
    const { stream, tell, requests, close } = await station();
    await stream.ready;
    await tell(event('worker-online', 1));
    await tell(event('task-received', 2), event('task-started', 3));
    await tell();
    expect(await take(stream, 3)).toEqual([
      ['worker-online', 1],
      ['task-received', 2],
      ['task-started', 3],
    ]);
    expect(requests).toEqual(['heartbeat']);
    await close();
  });

  test('garbage is counted and passed by', async () => {
    const { stream, tell, tellRaw, close } = await station();
    await stream.ready;
    for (const text of ['garbage', '5', 'null', '[null, {"type": "x"}, {"type": "task-x", "hostname": "h"}]'])
      await tellRaw(text);
    await tell(event('task-started', 1));
    expect(await take(stream, 2)).toEqual([
      ['task-x', undefined],
      ['task-started', 1],
    ]);
    expect(stream.refused).toBe(5);
    await close();
  });

  test('gives only the types asked for; one of worker events alone counts for no listener of task events', async () => {
    const some = await station({ types: ['task-failed', 'worker-offline'] });
    await some.stream.ready;
    await some.tell(event('task-started', 1), event('task-failed', 2));
    await some.tell(event('worker-offline', 3));
    expect(await take(some.stream, 2)).toEqual([
      ['task-failed', 2],
      ['worker-offline', 3],
    ]);
    await some.close();
    const workers = await station({ types: ['worker-heartbeat', 'worker-online'] });
    await workers.stream.ready;
    expect(await workers.tell()).toBe(0);
    expect(await workers.tell(event('worker-online'))).toBe(1);
    await workers.close();
  });

  test('of what is not fetched in time the oldest is dropped, with a count', async () => {
    const { stream, tell, close } = await station({ buffer: 3 });
    await stream.ready;
    for (let n = 0; n < 10; n++) await tell(event('task-started', n));
    expect((await take(stream, 3)).map(([, n]) => n)).toEqual([7, 8, 9]);
    expect(stream.dropped).toBe(7);
    await close();
  });

  test('a long stream through a small buffer keeps its order', async () => {
    const { stream, tell, close } = await station({ buffer: 5_000 });
    await stream.ready;
    const got: unknown[] = [];
    const reading = (async () => {
      for await (const { n } of stream) if (got.push(n) === 20_000) break;
    })();
    for (let n = 0; n < 20_000; n += 20) {
      await tell(...Array.from({ length: 20 }, (_, index) => event('task-started', n + index)));
      // The reader is no slower than the sender, only late.
      await new Promise((resolve) => setImmediate(resolve));
    }
    await reading;
    expect(got).toEqual(Array.from({ length: 20_000 }, (_, n) => n));
    await close();
  });

  test('ends quietly when its signal aborts or when it is closed, and listens no more', async () => {
    const controller = new AbortController();
    const aborted = await station({ signal: controller.signal });
    await aborted.stream.ready;
    const reading = take(aborted.stream, 1);
    controller.abort();
    expect(await reading).toEqual([]);
    await aborted.stream.close();
    expect(await aborted.tell(event('worker-online'))).toBe(0);
    await aborted.close();

    const closed = await station();
    await closed.stream.ready;
    const waiting = take(closed.stream, 1);
    await closed.stream.close();
    expect(await waiting).toEqual([]);
    await closed.close();

    const late = await station({ signal: AbortSignal.abort() });
    expect(await take(late.stream, 1)).toEqual([]);
    await late.close();
  });

  test('leaving the loop closes it', async () => {
    const { stream, tell, close } = await station();
    await stream.ready;
    await tell(event('worker-online'));
    await take(stream, 1);
    expect(await tell(event('worker-online'))).toBe(0);
    await close();
  });

  test('a broker that cannot be reached fails the loop, and nothing else', async () => {
    const away = openEvents({ broker: () => Promise.reject(new Error('away')), logger: silentLogger });
    await expect(take(away, 1)).rejects.toThrow('away');
    await expect(away.ready).rejects.toThrow('away');
    await away.close();
  });

  test.each([
    [{ buffer: 0 }, 'E_CONFIG_RANGE'],
    [{ buffer: 1.5 }, 'E_CONFIG_RANGE'],
    [{ types: 'task-failed' }, 'E_CONFIG_TYPE'],
    [{ types: [''] }, 'E_CONFIG_TYPE'],
  ])('%j is refused with %s', async (options, code) => {
    const broker = (): Promise<never> => Promise.reject(new Error('must not be asked'));
    expect(() => openEvents({ broker, logger: silentLogger }, options as never)).toThrow(expect.objectContaining({ code }));
  });
});
