import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { WireEvent } from '../wire/event-message.js';
import { ClusterState } from './cluster-state.js';

const START = 1_800_000_000;
let clock = 0;
const event = (type: string, fields: object = {}): WireEvent => {
  clock += 1;
  return { type, hostname: 'w1@h', timestamp: START + clock, clock, utcoffset: 0, pid: 7, ...fields } as WireEvent;
};
const atMs = (one: WireEvent): number => one.timestamp * 1_000;
const feed = (state: ClusterState, ...events: WireEvent[]): void => {
  for (const one of events) state.apply(one, atMs(one));
};
const received = (uuid: string, more: object = {}): WireEvent =>
  event('task-received', {
    ...{
      uuid,
      name: 'math.add',
      args: '(2, 2)',
      kwargs: '{}',
      root_id: uuid,
      parent_id: null,
      retries: 0,
      eta: null,
      expires: null,
    },
    ...more,
  });
/** The events of a recording of a real worker, in the order in which they came. */
function recorded(name: string): WireEvent[] {
  const vector = JSON.parse(readFileSync(new URL(`../../tests/vectors/${name}.json`, import.meta.url), 'utf8')) as {
    wire: { messages: { body_json: WireEvent | WireEvent[] }[] };
  };
  return vector.wire.messages.flatMap(({ body_json }) => body_json);
}

describe('tasks', () => {
  test('a task goes from sent to succeeded, with everything that was said of it', () => {
    const state = new ClusterState();
    const sent = event('task-sent', { uuid: 't', name: 'math.add', queue: 'math', hostname: 'gen1@h', clock: 1, retries: 0 });
    const [got, began] = [received('t'), event('task-started', { uuid: 't' })];
    const done = event('task-succeeded', { uuid: 't', result: '4', runtime: 0.25 });
    const states = [sent, got, began, done].map((one) => {
      feed(state, one);
      return state.task('t')?.state;
    });
    expect(states).toEqual(['SENT', 'RECEIVED', 'STARTED', 'SUCCESS']);
    expect(state.task('t')).toEqual({
      ...{ id: 't', name: 'math.add', state: 'SUCCESS', worker: 'w1@h', queue: 'math', args: '(2, 2)', kwargs: '{}' },
      ...{ rootId: 't', parentId: null, retries: 0, eta: null, expires: null, sentAtMs: atMs(sent), receivedAtMs: atMs(got) },
      ...{ startedAtMs: atMs(began), endedAtMs: atMs(done), runtimeMs: 250, result: '4', exception: null, traceback: null },
    });
    expect(state.names()).toEqual([{ name: 'math.add', succeeded: 1, failed: 0, retried: 0, runtimeMs: 250, longestMs: 250 }]);
  });

  test('whatever the order in which they come, the same is known in the end', () => {
    const events = [
      event('task-sent', { uuid: 't', name: 'math.add', queue: 'math', hostname: 'gen1@h', clock: 90 }),
      received('t'),
      event('task-started', { uuid: 't' }),
      event('task-failed', { uuid: 't', exception: "ValueError('x')", traceback: 'File "x"' }),
    ];
    const inOrder = new ClusterState();
    feed(inOrder, ...events);
    for (const order of [
      [3, 2, 1, 0],
      [1, 3, 0, 2],
      [2, 0, 3, 1],
      [0, 3, 1, 2],
    ]) {
      const state = new ClusterState();
      feed(state, ...order.map((index) => events[index] as WireEvent));
      expect({ order, task: state.task('t')?.state, name: state.task('t')?.name, exception: state.task('t')?.exception }).toEqual(
        {
          ...{ order, task: 'FAILURE', name: 'math.add', exception: "ValueError('x')" },
        },
      );
      expect(state.totals).toEqual(inOrder.totals);
    }
  });

  test('of one node its logical clock counts, of two the time: a wall clock that was set back confuses nobody', () => {
    const state = new ClusterState();
    feed(state, received('t', { timestamp: START + 100 }), event('task-started', { uuid: 't', timestamp: START - 50 }));
    expect(state.task('t')?.state).toBe('STARTED');
    // Another worker, whose logical clock is young, takes it over later.
    feed(state, received('t', { hostname: 'w2@h', clock: 1, timestamp: START + 200 }));
    expect(state.task('t')).toMatchObject({ state: 'RECEIVED', worker: 'w2@h' });
    // What the first one still says was before.
    feed(state, event('task-succeeded', { uuid: 't', timestamp: START + 150, clock: 10_000 }));
    expect(state.task('t')).toMatchObject({ state: 'RECEIVED', worker: 'w2@h' });
  });

  test('a retry runs again, and its first error is gone when it succeeds', () => {
    const state = new ClusterState();
    feed(
      state,
      received('t'),
      event('task-started', { uuid: 't' }),
      event('task-retried', { uuid: 't', exception: "E('x')", traceback: '' }),
    );
    expect(state.task('t')).toMatchObject({ state: 'RETRY', exception: "E('x')", startedAtMs: null });
    expect(state.running()).toEqual([]);
    feed(
      state,
      received('t', { retries: 1 }),
      event('task-started', { uuid: 't' }),
      event('task-succeeded', { uuid: 't', result: '1', runtime: 1 }),
    );
    expect(state.task('t')).toMatchObject({ state: 'SUCCESS', retries: 1, exception: null, result: '1' });
    expect(state.totals).toMatchObject({ received: 2, retried: 1, succeeded: 1, failed: 0 });
  });

  test.each([
    ['task-revoked', 'REVOKED'],
    ['task-rejected', 'REJECTED'],
    ['task-cancelled', 'CANCELLED'],
  ])('%s makes %s, and it runs no more', (type, wanted) => {
    const state = new ClusterState();
    feed(state, received('t'), event('task-started', { uuid: 't' }));
    expect(state.running().map(({ id }) => id)).toEqual(['t']);
    feed(state, event(type, { uuid: 't' }));
    expect([state.task('t')?.state, state.running()]).toEqual([wanted, []]);
  });

  test('the longest running come first', () => {
    const state = new ClusterState();
    for (const id of ['a', 'b', 'c']) feed(state, received(id));
    for (const id of ['b', 'c', 'a']) feed(state, event('task-started', { uuid: id }));
    expect(state.running().map(({ id }) => id)).toEqual(['b', 'c', 'a']);
  });

  test.each([
    ['g-redis-task-success', ['SUCCESS']],
    ['g-redis-task-success-batch', ['SUCCESS', 'SUCCESS', 'SUCCESS', 'SUCCESS', 'SUCCESS']],
    ['g-526-redis-task-failed', ['FAILURE']],
    ['g-526-redis-task-retried', ['SUCCESS']],
    ['g-amqp-task-retried', ['SUCCESS']],
    ['g-redis-task-revoked', ['REVOKED']],
    ['g-526-redis-task-revoked-expired', ['REVOKED']],
    ['g-amqp-task-revoked-terminated', ['REVOKED']],
    ['g-redis-task-rejected', ['REJECTED']],
    ['g-redis-task-unknown', ['FAILURE']],
    ['g-amqp-election', ['SUCCESS']],
  ])('the recording %s ends as Python had it', (name, wanted) => {
    const state = new ClusterState();
    for (const one of recorded(name)) state.apply(one, 0);
    expect(state.tasks().map((task) => task.state)).toEqual(wanted);
    expect(state.tasks().every((task) => task.name !== null)).toBe(true);
  });
});

describe('workers', () => {
  test('one is alive until twice its time between heartbeats is over, by the clock here and not by its own', () => {
    const state = new ClusterState();
    state.apply(
      event('worker-online', { freq: 30, active: 2, processed: 9, loadavg: [1, 2, 3], sw_ident: 'lovage', sw_ver: '1' }),
      1_000,
    );
    expect(state.workers()).toEqual([
      {
        ...{ name: 'w1@h', alive: true, pid: 7, freq: 30, active: 2, processed: 9, loadavg: [1, 2, 3], software: 'lovage 1' },
        ...{ droppedEvents: 0, lastSeenMs: 1_000, offline: false },
      },
    ]);
    state.expire(60_999);
    expect(state.workers()[0]?.alive).toBe(true);
    state.expire(61_000);
    expect(state.workers()[0]?.alive).toBe(false);
    state.apply(event('task-started', { uuid: 't' }), 62_000);
    expect(state.workers()[0]?.alive).toBe(true);
    state.apply(event('worker-offline', { freq: 30 }), 63_000);
    expect(state.workers()[0]).toMatchObject({ alive: false, offline: true });
    state.apply(event('worker-heartbeat', { freq: 2, dropped_events: 5 }), 64_000);
    expect(state.workers()[0]).toMatchObject({ alive: true, offline: false, freq: 2, droppedEvents: 5 });
  });

  test('clients are no workers', () => {
    const state = new ClusterState();
    feed(state, event('task-sent', { uuid: 't', hostname: 'gen1@h' }));
    expect(state.workers()).toEqual([]);
  });
});

describe('bounds', () => {
  test('of too many tasks those go that ended first, then the oldest', () => {
    const state = new ClusterState({ maxTasks: 3 });
    feed(state, received('old'), received('done'), event('task-succeeded', { uuid: 'done' }), received('a'), received('b'));
    expect(state.tasks().map(({ id }) => id)).toEqual(['b', 'a', 'old']);
    feed(state, received('c'));
    expect(state.tasks().map(({ id }) => id)).toEqual(['c', 'b', 'a']);
  });

  test('a hundred thousand tasks, workers and names leave what was allowed', () => {
    const state = new ClusterState({ maxTasks: 100, maxWorkers: 10 });
    for (let index = 0; index < 100_000; index++)
      feed(
        state,
        received(`t${index}`, { hostname: `w${index}@h`, name: `n${index}` }),
        event('task-failed', { uuid: `t${index}`, hostname: `w${index}@h` }),
      );
    expect([state.tasks().length, state.workers().length, state.names().length]).toEqual([100, 10, 1_000]);
    expect(state.names().find(({ name }) => name === '(other)')?.failed).toBe(100_000 - 999);
  });

  test('what has ended, and workers that are gone, are forgotten after an hour; what runs is not', () => {
    const state = new ClusterState();
    feed(
      state,
      received('done'),
      event('task-succeeded', { uuid: 'done' }),
      received('runs'),
      event('task-started', { uuid: 'runs' }),
    );
    const nowMs = (START + clock) * 1_000;
    state.expire(nowMs + 3_597_000);
    expect([state.tasks().length, state.workers().length]).toEqual([2, 1]);
    state.expire(nowMs + 3_603_000);
    expect([state.tasks().map(({ id }) => id), state.workers()]).toEqual([['runs'], []]);
  });

  test('long texts are cut', () => {
    const state = new ClusterState();
    feed(
      state,
      received('t', { args: 'x'.repeat(100_000), kwargs: 5 }),
      event('task-failed', { uuid: 't', traceback: 'y'.repeat(1_000_000) }),
    );
    expect(state.task('t')?.args).toHaveLength(1_024);
    expect(state.task('t')?.kwargs).toBeNull();
    expect(state.task('t')?.traceback).toHaveLength(16_384);
  });

  test('nonsense is passed by', () => {
    const state = new ClusterState();
    feed(
      state,
      ...[event('task-received', { uuid: 5 }), event('task-received'), event('task-started', { uuid: 'x'.repeat(5_000) })],
      ...[event('worker-heartbeat', { hostname: 'h'.repeat(5_000) }), event('task-mine', { uuid: 't' }), event('worker-elect')],
      event('worker-heartbeat', { freq: -1, active: 'many', processed: 1.5, loadavg: 'high', sw_ident: 5 }),
    );
    expect(state.tasks()).toEqual([]);
    expect(state.workers()).toMatchObject([
      { name: 'w1@h', freq: 60, active: null, processed: null, loadavg: null, software: null },
    ]);
  });
});
