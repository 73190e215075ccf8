import { describe, expect, test } from 'vitest';
import type { Broadcast } from '../brokers/broker.js';
import { silentLogger } from '../core/logger.js';
import { createFakeClock } from '../testing/fake-clock.js';
import { decodeEvents, type WireEvent } from '../wire/event-message.js';
import { EventDispatcher, type EventDispatcherOptions } from './dispatcher.js';

const turns = async (): Promise<void> => {
  for (let index = 0; index < 4; index++) await new Promise((resolve) => setImmediate(resolve));
};

/** A dispatcher on a fake clock and a broker with so many listeners of task events. */
function station(mode: EventDispatcherOptions['mode'], listeners: number | null = 0) {
  const clock = createFakeClock(1_800_000_000_000);
  const broker = { listeners, fails: false, sent: [] as Broadcast[] };
  let ticks = 0;
  const dispatcher = new EventDispatcher({
    ...{ hostname: 'w1@h', mode, version: '1.2.3', clock, logger: silentLogger },
    tick: () => ++ticks,
    counts: () => ({ active: 2, processed: 7 }),
    broadcast: async (broadcast) => {
      if (broker.fails) throw new Error('away');
      broker.sent.push(broadcast);
      // Python workers listen to the heartbeats of each other, whether or not there is a monitor.
      return broadcast.routingKey.startsWith('worker.') ? 3 : broker.listeners;
    },
  });
  const events = (): readonly WireEvent[] => broker.sent.flatMap(({ message }) => decodeEvents(message).events);
  const types = (): string[] =>
    broker.sent.map(({ message, routingKey }) => decodeEvents(message).events[0]?.type ?? `${routingKey} []`);
  const sentIn = async (ms: number): Promise<string[]> => {
    broker.sent.length = 0;
    // In steps: what a timer does is answered before the next.
    for (let left = ms; left > 0; left -= 500) {
      clock.advance(Math.min(left, 500));
      await turns();
    }
    return types();
  };
  const task = async (uuid: string): Promise<void> => {
    if (dispatcher.on) dispatcher.add(dispatcher.event('task-started', { uuid }));
    await turns();
  };
  return { clock, broker, dispatcher, events, types, sentIn, task };
}

const count = (types: readonly string[], type: string): number => types.filter((each) => each === type).length;

describe('events on demand', () => {
  test('a worker that nobody watches says that it is there, and costs three messages a minute', async () => {
    const { dispatcher, types, sentIn, events } = station('on-demand');
    dispatcher.start();
    await turns();
    expect(types()).toEqual(['worker-online', 'task.multi []']);
    expect(events()[0]).toMatchObject({
      ...{ type: 'worker-online', hostname: 'w1@h', pid: process.pid, clock: 1, freq: 30, active: 2, processed: 7 },
      ...{
        sw_ident: 'lovage',
        sw_ver: '1.2.3',
        timestamp: 1_800_000_000,
        loadavg: [expect.any(Number), expect.any(Number), expect.any(Number)],
      },
    });
    expect(events()[0]).not.toHaveProperty('dropped_events');
    const minute = ['worker-heartbeat', 'worker-heartbeat', 'task.multi []'];
    expect(await sentIn(120_000)).toEqual([...minute, ...minute]);
    expect(dispatcher.on).toBe(false);
  });

  test('a listener that is there at the start gets task events at once, and heartbeats every two seconds', async () => {
    const { dispatcher, types, sentIn, events } = station('on-demand', 1);
    dispatcher.start();
    await turns();
    expect(dispatcher.on).toBe(true);
    expect(types()).toEqual(['worker-online', 'task.multi []', 'worker-heartbeat']);
    expect(events().map(({ freq }) => freq)).toEqual([30, 2]);
    const beats = await sentIn(20_000);
    expect(count(beats, 'worker-heartbeat')).toBe(10);
    expect(count(beats, 'task.multi []')).toBe(2);
  });

  test('a listener that only listens is found within a minute; one that sends the command heartbeat at once', async () => {
    const silent = station('on-demand');
    silent.dispatcher.start();
    await silent.sentIn(10_000);
    silent.broker.listeners = 1;
    await silent.sentIn(50_000);
    expect(silent.dispatcher.on).toBe(true);

    const asking = station('on-demand');
    asking.dispatcher.start();
    await asking.sentIn(10_000);
    asking.broker.listeners = 1;
    asking.dispatcher.heartbeat();
    await turns();
    expect(asking.dispatcher.on).toBe(true);
  });

  test('a listener that subscribes seconds after its command heartbeat, as those of Celery do on Redis, is found soon', async () => {
    const { dispatcher, broker, sentIn } = station('on-demand');
    dispatcher.start();
    await sentIn(10_000);
    dispatcher.heartbeat();
    await sentIn(2_000);
    broker.listeners = 1;
    await sentIn(2_000);
    expect(dispatcher.on).toBe(true);
  });

  test('a thousand commands heartbeat from somebody who never listens end in five more questions', async () => {
    const { dispatcher, sentIn } = station('on-demand');
    dispatcher.start();
    await sentIn(1_000);
    for (let index = 0; index < 1_000; index++) dispatcher.heartbeat();
    await turns();
    expect(count(await sentIn(20_000), 'task.multi []')).toBe(5);
    expect(count(await sentIn(20_000), 'task.multi []')).toBe(0);
    await dispatcher.close();
  });

  test('when the last listener has gone, the next batch ends it, and a heartbeat says how seldom they come now', async () => {
    const { dispatcher, broker, task, events, sentIn } = station('on-demand', 1);
    dispatcher.start();
    await turns();
    broker.listeners = 0;
    broker.sent.length = 0;
    await task('t1');
    expect(events().map(({ type, freq }) => [type, freq])).toEqual([
      ['task-started', undefined],
      ['worker-heartbeat', 30],
    ]);
    expect(dispatcher.on).toBe(false);
    broker.sent.length = 0;
    await task('t2');
    expect(broker.sent).toEqual([]);
    expect(count(await sentIn(60_000), 'worker-heartbeat')).toBe(2);
  });

  test('without tasks, an empty batch finds within twelve seconds that the last listener has gone', async () => {
    const { dispatcher, broker, sentIn } = station('on-demand', 1);
    dispatcher.start();
    await turns();
    broker.listeners = 0;
    await sentIn(12_000);
    expect(dispatcher.on).toBe(false);
  });

  test('a broker that cannot count but would say nobody means somebody by null', async () => {
    const { dispatcher } = station('on-demand', null);
    dispatcher.start();
    await turns();
    expect(dispatcher.on).toBe(true);
  });

  test('enable_events holds for a minute without listeners, and beyond it while there are some', async () => {
    const { dispatcher, broker, sentIn, task } = station('on-demand');
    dispatcher.start();
    await turns();
    expect(dispatcher.enable()).toBe(true);
    expect(dispatcher.enable()).toBe(false);
    await sentIn(50_000);
    await task('t1');
    expect(dispatcher.on).toBe(true);
    await sentIn(22_000);
    expect(dispatcher.on).toBe(false);
    broker.listeners = 1;
    dispatcher.enable();
    await sentIn(180_000);
    expect(dispatcher.on).toBe(true);
  });

  test('disable_events ends them whoever listens, until enable_events', async () => {
    const { dispatcher, sentIn } = station('on-demand', 1);
    dispatcher.start();
    await turns();
    expect(dispatcher.disable()).toBe(true);
    expect(dispatcher.disable()).toBe(false);
    expect(new Set(await sentIn(60_000))).toEqual(new Set(['worker-heartbeat']));
    dispatcher.heartbeat();
    await turns();
    expect(dispatcher.on).toBe(false);
    expect(dispatcher.enable()).toBe(true);
    expect(dispatcher.on).toBe(true);
  });

  test('an outage changes nothing, counts what was lost, and heartbeats tell it afterwards', async () => {
    const { dispatcher, broker, sentIn, task, events } = station('on-demand', 1);
    dispatcher.start();
    await turns();
    broker.fails = true;
    await task('t1');
    await sentIn(60_000);
    expect(dispatcher.on).toBe(true);
    broker.fails = false;
    await sentIn(2_000);
    expect(events()[0]).toMatchObject({ type: 'worker-heartbeat', dropped_events: 1 });
  });
});

describe('other modes', () => {
  test('always: as a Celery worker with -E, whether or not anybody listens', async () => {
    const { dispatcher, sentIn, task, types } = station('always', 0);
    dispatcher.start();
    await turns();
    expect(types()).toEqual(['worker-online']);
    await task('t1');
    expect(types()).toEqual(['worker-online', 'task-started']);
    expect(await sentIn(20_000)).toEqual(Array(10).fill('worker-heartbeat'));
    expect(dispatcher.on).toBe(true);
    expect([dispatcher.enable(), dispatcher.disable(), dispatcher.on, dispatcher.enable(), dispatcher.on]).toEqual([
      false,
      true,
      false,
      true,
      true,
    ]);
  });

  test('off: nothing at all, but the commands heartbeat and enable_events are obeyed', async () => {
    const { dispatcher, sentIn, task, types, broker } = station('off', 1);
    dispatcher.start();
    await task('t1');
    expect([...types(), ...(await sentIn(60_000))]).toEqual([]);
    dispatcher.heartbeat();
    await turns();
    expect(types()).toEqual(['worker-heartbeat']);
    broker.sent.length = 0;
    expect(dispatcher.enable()).toBe(true);
    await task('t2');
    expect(types()).toEqual(['worker-heartbeat', 'task-started']);
  });
});

describe('the end', () => {
  test('sends what waits, then worker-offline, and no timer is left', async () => {
    const { dispatcher, types, clock, broker } = station('always');
    dispatcher.start();
    await turns();
    broker.sent.length = 0;
    dispatcher.add(dispatcher.event('task-started', { uuid: 't' }));
    await dispatcher.close();
    await dispatcher.close();
    expect(types()).toEqual(['task-started', 'worker-offline']);
    expect(clock.timers).toBe(0);
    dispatcher.heartbeat();
    await turns();
    expect(types()).toHaveLength(2);
  });

  test('a worker that never said a word does not say goodbye, and one whose broker is away does not fail', async () => {
    const silent = station('off');
    silent.dispatcher.start();
    await silent.dispatcher.close();
    expect(silent.broker.sent).toEqual([]);
    const cut = station('always');
    cut.dispatcher.start();
    await turns();
    cut.broker.fails = true;
    await cut.dispatcher.close();
    expect(cut.types()).toEqual(['worker-online']);
  });
});
