import { describe, expect, test } from 'vitest';
import { silentLogger } from '../../../core/logger.js';
import { EventDispatcher } from '../../../events/dispatcher.js';
import { createFakeClock } from '../../../testing/fake-clock.js';
import { decodeEvents, type WireEvent } from '../../../wire/event-message.js';
import { EVENT_TYPES } from '../../../wire/event-types.js';
import { pythonError } from '../../../wire/exception-info.js';
import { encodeTaskMessage, readTaskHeaders, type TaskHeaders } from '../../../wire/task-message.js';
import type { Outcome } from '../../port.js';
import type { ActiveRun } from '../state.js';
import { TaskEvents } from './task-events.js';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const BASE = { run: 1, runtimeMs: 250, children: [] } as const;

function station(mode: 'always' | 'off') {
  const sent: WireEvent[] = [];
  let ticks = 0;
  const dispatcher = new EventDispatcher({
    ...{ hostname: 'w1@h', mode, version: '1', clock: createFakeClock(1_800_000_000_000), logger: silentLogger },
    tick: () => ++ticks,
    counts: () => ({ active: 0, processed: 0 }),
    broadcast: async ({ message }) => {
      sent.push(...decodeEvents(message).events);
      return 1;
    },
  });
  return { events: new TaskEvents(dispatcher), sent };
}

function runOf(more: Partial<Parameters<typeof encodeTaskMessage>[0]> = {}): ActiveRun {
  const message = encodeTaskMessage(
    { task: 'math.add', id: 'an-id', args: [1, 'x'], kwargs: { k: null }, ...more },
    { nowMs: 0 },
  );
  return { message, headers: readTaskHeaders(message) as TaskHeaders } as ActiveRun;
}
const ended = (outcome: object): WireEvent | null =>
  station('always').events.ended(runOf(), { ...BASE, ...outcome } as unknown as Outcome);

describe('the events of a task', () => {
  test('received tells the call as its sender wrote it, and the shadow name where there is one', async () => {
    const { events, sent } = station('always');
    events.received(runOf({ eta: new Date(1_800_000_000_000), parentId: 'p', rootId: 'r', retries: 2 }));
    events.received(runOf({ shadow: 'shown' }));
    events.started(runOf());
    events.cancelled(runOf());
    await turn();
    expect(sent).toMatchObject([
      {
        ...{ type: 'task-received', uuid: 'an-id', name: 'math.add', args: "(1, 'x')", kwargs: "{'k': None}", root_id: 'r' },
        ...{ parent_id: 'p', retries: 2, eta: '2027-01-15T08:00:00+00:00', expires: null, timestamp: 1_800_000_000, clock: 1 },
      },
      { type: 'task-received', name: 'shown', root_id: 'an-id', parent_id: null },
      { type: 'task-started', uuid: 'an-id', clock: 3 },
      { type: 'task-cancelled', uuid: 'an-id' },
    ]);
  });

  test.each([
    [
      { kind: 'success', resultJson: '{"a":[1,true,null,"x"]}' },
      { type: 'task-succeeded', result: "{'a': [1, True, None, 'x']}", runtime: 0.25 },
    ],
    [
      { kind: 'success', resultJson: 'null' },
      { type: 'task-succeeded', result: 'None' },
    ],
    [
      { kind: 'failure', exceptionJson: pythonError('ValueError', ['no ☃', 2]), traceback: 'the stack' },
      { type: 'task-failed', exception: "ValueError('no ☃', 2)", traceback: 'the stack' },
    ],
    [
      { kind: 'retry', exceptionJson: pythonError('E', []), traceback: null, delayMs: 1 },
      { type: 'task-retried', exception: 'E()', traceback: '' },
    ],
    [
      { kind: 'retry', exceptionJson: null, traceback: null, delayMs: 1 },
      { type: 'task-retried', exception: 'None' },
    ],
    [
      { kind: 'undecodable', code: 'E_DECODE', reason: 'no JSON' },
      { type: 'task-failed', exception: "DecodeError('no JSON')" },
    ],
    [
      { kind: 'rejected', requeue: true },
      { type: 'task-rejected', requeue: true },
    ],
    [
      { kind: 'revoked', begun: true, abandoned: false },
      { type: 'task-revoked', terminated: true, signum: null, expired: false },
    ],
    [
      { kind: 'revoked', begun: false, abandoned: false },
      { type: 'task-revoked', terminated: false },
    ],
  ])('%j', (outcome, expected) => {
    expect(ended(outcome)).toMatchObject({ uuid: 'an-id', hostname: 'w1@h', ...expected });
  });

  test('one that was terminated tells the number of the signal, as in the recording', () => {
    const run = { ...runOf(), terminatedBy: 15 };
    const terminated = { ...BASE, kind: 'revoked', begun: true, abandoned: false } as const;
    expect(station('always').events.ended(run, terminated)).toMatchObject({ type: 'task-revoked', terminated: true, signum: 15 });
    // told to end, and taken back before it had begun
    expect(station('always').events.ended(run, { ...terminated, begun: false })).toMatchObject({
      terminated: false,
      signum: null,
    });
  });

  test.each(['ignored', 'handed-back'])('Celery has no event for a task that was %s', (kind) => {
    expect(ended({ kind })).toBeNull();
  });

  test.each([
    [
      'REVOKED',
      pythonError('TaskRevokedError', ['expired']),
      { type: 'task-revoked', expired: true, terminated: false, signum: null },
    ],
    [
      'REVOKED',
      pythonError('TaskRevokedError', ['revoked']),
      { type: 'task-revoked', expired: false, terminated: false, signum: null },
    ],
    ['FAILURE', pythonError('NotRegistered', ['a.b']), { type: 'task-failed', exception: "NotRegistered('a.b')" }],
  ] as const)('one that ends without running: %s %s', (state, exception, expected) => {
    expect(station('always').events.endedUnrun(runOf().headers, state, exception)).toMatchObject({ uuid: 'an-id', ...expected });
  });

  test("a task's own event keeps its fields, but not what is ours to say", async () => {
    const { events, sent } = station('always');
    events.own(
      runOf(),
      'task-mine',
      '{"note":"hello","n":3,"hostname":"liar","clock":"no","uuid":"other","type":"task-failed","pid":0}',
    );
    events.own(runOf(), 'task-mine', 'no JSON');
    await turn();
    expect(sent).toEqual([
      {
        ...{ type: 'task-mine', uuid: 'an-id', hostname: 'w1@h', note: 'hello', n: 3, pid: process.pid, clock: 1 },
        ...{ timestamp: 1_800_000_000, utcoffset: expect.any(Number) },
      },
      expect.objectContaining({ type: 'task-mine', uuid: 'an-id' }),
    ]);
  });

  test('texts are cut, however long what they tell of', () => {
    const long = 'x'.repeat(5_000_000);
    const short = (event: WireEvent | null, field: string): number => String(event?.[field]).length;
    expect(short(ended({ kind: 'success', resultJson: JSON.stringify(long) }), 'result')).toBe(1_024);
    expect(short(ended({ kind: 'success', resultJson: JSON.stringify(long.slice(0, 5_000)) }), 'result')).toBe(1_024);
    const failure = ended({ kind: 'failure', exceptionJson: pythonError('E', [long]), traceback: long });
    expect(short(failure, 'exception')).toBe(1_024);
    expect(short(failure, 'traceback')).toBeLessThan(8_300);
    expect(failure?.traceback).toContain('characters left out');
  });

  test('what an executor sent broken is told all the same', () => {
    expect(ended({ kind: 'success', resultJson: '{' })).toMatchObject({ type: 'task-succeeded', result: 'None' });
    expect(ended({ kind: 'failure', exceptionJson: '{', traceback: '' })).toMatchObject({
      type: 'task-failed',
      exception: 'None',
    });
  });

  test('while nobody wants them, on is false and nothing is sent', async () => {
    const { events, sent } = station('off');
    expect(events.on).toBe(false);
    events.received(runOf());
    events.send(events.ended(runOf(), { ...BASE, kind: 'success', resultJson: '1' }));
    await turn();
    expect(sent).toEqual([]);
  });

  test('each has the fields of the reference, and no others', async () => {
    const { events, sent } = station('always');
    events.received(runOf());
    events.started(runOf());
    events.cancelled(runOf());
    for (const outcome of [
      { kind: 'success', resultJson: '1' },
      { kind: 'failure', exceptionJson: pythonError('E', []), traceback: '' },
      { kind: 'retry', exceptionJson: null, traceback: null, delayMs: 1 },
      { kind: 'revoked', begun: true, abandoned: false },
      { kind: 'rejected', requeue: false },
    ])
      events.send(events.ended(runOf(), { ...BASE, ...outcome } as Outcome));
    await turn();
    const common = ['type', 'hostname', 'timestamp', 'clock', 'utcoffset', 'pid'];
    for (const event of sent) {
      const { fields } = EVENT_TYPES[event.type as keyof typeof EVENT_TYPES];
      expect({ type: event.type, fields: Object.keys(event).sort() }).toEqual({
        type: event.type,
        fields: [...common, ...Object.keys(fields)].sort(),
      });
    }
    expect(sent).toHaveLength(8);
  });
});
