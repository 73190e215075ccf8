import { describe, expect, test } from 'vitest';
import { ClusterState } from '../../events/cluster-state.js';
import type { WireEvent } from '../../wire/event-message.js';
import { QueueHeads, Rates, snapshot, type TopQueue, type TopSnapshot } from './model.js';
import { screenLines } from './screen.js';

const START = 1_800_000_000_000;
const event = (type: string, atMs: number, fields: object = {}): WireEvent =>
  ({ type, hostname: 'w1@h', timestamp: atMs / 1_000, clock: atMs - START + 1, utcoffset: 0, ...fields }) as WireEvent;
const ZERO = { received: 0, succeeded: 0, failed: 0, retried: 0 };
const queue = (name: string, more: Partial<TopQueue> = {}): TopQueue => ({
  ...{ queue: name, ready: 0, delayed: 0, unacked: 0, oldestMs: null },
  ...more,
});
function take(state: ClusterState, nowMs: number, more: Partial<Parameters<typeof snapshot>[0]> = {}): TopSnapshot {
  return snapshot({ state, nowMs, startedMs: START, rates: ZERO, queues: [], droppedEvents: 0, limit: 20, ...more });
}

describe('what top shows', () => {
  test('rates are those of the last ten seconds', () => {
    const state = new ClusterState();
    const rates = new Rates();
    const succeed = (count: number): void => {
      for (let index = 0; index < count; index++) state.apply(event('task-succeeded', START, { uuid: `t${index}` }), START);
    };
    expect(rates.next(state, START)).toEqual(ZERO);
    succeed(100);
    expect(rates.next(state, START + 2_000)).toEqual({ ...ZERO, succeeded: 50 });
    for (let seconds = 4; seconds <= 12; seconds += 2) rates.next(state, START + seconds * 1_000);
    succeed(20);
    // The hundred were more than ten seconds ago.
    expect(rates.next(state, START + 14_000)).toEqual({ ...ZERO, succeeded: 2 });
    // Nobody asked for a minute: then it is the mean of that minute.
    succeed(60);
    expect(rates.next(state, START + 74_000).succeeded).toBeCloseTo(1);
  });

  test('the age of the next message is counted from when it was first seen there, or from when it was sent if that is known', () => {
    const heads = new QueueHeads();
    expect(heads.see('q', 'a', null, 1_000)).toBe(0);
    expect(heads.see('q', 'a', null, 5_000)).toBe(4_000);
    expect(heads.see('q', 'b', null, 6_000)).toBe(0);
    expect(heads.see('q', 'b', 500, 7_000)).toBe(6_500);
    expect(heads.see('q', null, null, 8_000)).toBeNull();
    expect(heads.see('q', 'b', null, 9_000)).toBe(0);
  });

  test('running tasks and slow ones come first, and what a dead worker ran does not run', () => {
    const state = new ClusterState();
    const begin = (id: string, atMs: number, hostname = 'w1@h'): void => {
      state.apply(event('task-received', atMs, { uuid: id, name: `n.${id}`, args: '(1,)', hostname }), atMs);
      state.apply(event('task-started', atMs + 1, { uuid: id, hostname }), atMs);
    };
    begin('old', START);
    begin('new', START + 50_000);
    begin('lost', START, 'w2@h');
    state.apply(event('worker-offline', START + 10, { hostname: 'w2@h' }), START + 10);
    begin('slow', START + 60_000);
    state.apply(event('task-succeeded', START + 90_000, { uuid: 'slow', runtime: 30, result: '1' }), START + 90_000);
    begin('quick', START + 60_000);
    state.apply(event('task-failed', START + 91_000, { uuid: 'quick' }), START + 91_000);
    const seen = take(state, START + 100_000);
    expect(seen.running.map(({ id, forMs }) => [id, Math.round(forMs / 1_000)])).toEqual([
      ['old', 100],
      ['new', 50],
    ]);
    expect(seen.tasks.map(({ name, runs, failed, meanMs }) => [name, runs, failed, meanMs])).toEqual([
      ['n.slow', 1, 0, 30_000],
      ['n.quick', 1, 1, 0],
    ]);
    expect(seen.workers.map(({ name, alive }) => [name, alive])).toEqual([
      ['w1@h', true],
      ['w2@h', false],
    ]);
    expect(take(state, START + 100_000, { limit: 1 }).running.map(({ id }) => id)).toEqual(['old']);
    expect(take(state, START + 100_000, { limit: 1 }).runningCount).toBe(2);
  });
});

describe('how it looks', () => {
  const many: TopSnapshot = (() => {
    const state = new ClusterState();
    for (let index = 0; index < 40; index++) {
      const hostname = `worker-${String(index).padStart(2, '0')}@host`;
      const fields = { hostname, freq: 2, active: 1, processed: index, loadavg: [0.5, 1, 1], sw_ident: 'lovage', sw_ver: '1' };
      state.apply(event('worker-heartbeat', START, fields), START);
      state.apply(event('task-received', START, { uuid: `t${index}`, name: 'reports.build', args: '(1,)', hostname }), START);
      state.apply(event('task-started', START + 1, { uuid: `t${index}`, hostname }), START);
    }
    const queues = [queue('celery', { ready: 12, oldestMs: 75_000 }), queue('amqp', { ready: 3, delayed: null, unacked: null })];
    return take(state, START + 3_000, { queues, limit: 40, rates: { ...ZERO, succeeded: 1_234.4, failed: 0.25 } });
  })();

  test('shows figures, queues, workers and tasks, in plain text where there is no terminal', () => {
    const text = screenLines(many, { columns: 200, rows: 200 }).join('\n');
    expect(text).toContain('workers 40 of 40 alive   running 40');
    expect(text).toContain('succeeded 1234/s   failed 0.3/s');
    expect(text).toMatch(/celery +12 +0 +0 +1m 15s\+/);
    expect(text).toMatch(/amqp +3 +\? +\? +\?/);
    expect(text).toMatch(/worker-07@host +alive +1 +7 +0\.50 +3\.0s ago +lovage 1/);
    expect(text).toMatch(/3\.0s +reports\.build +worker-00@host +t0 +\(1,\)/);
    expect(text).toContain('none has ended since this began');
    expect(text).not.toContain('EVENTS MISSING');
  });

  test.each([
    [80, 24],
    [40, 21],
    [120, 50],
  ])('fits into %i columns and %i rows, and says what is left out', (columns, rows) => {
    const lines = screenLines(many, { columns, rows });
    expect(lines.length).toBeLessThanOrEqual(rows);
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(columns);
    expect(lines.join('\n')).toMatch(/and \d+ more/);
    for (const title of ['QUEUES', 'WORKERS', 'RUNNING LONGEST', 'TASKS BY TIME']) expect(lines).toContain(title);
  });

  test('missing events are said aloud, and hostile names drive no terminal', () => {
    const state = new ClusterState();
    const hostname = 'evil\u001b[2J\n';
    state.apply(event('worker-heartbeat', START, { hostname, freq: 30, dropped_events: 3 }), START);
    state.apply(event('task-received', START, { uuid: 'a\u0007', name: 'x\r\ny', args: '\u001b]0;t\u0007', hostname }), START);
    state.apply(event('task-started', START + 1, { uuid: 'a\u0007', hostname }), START);
    const lines = screenLines(take(state, START, { droppedEvents: 2, queues: [queue('q\u001b[31m')] }), {
      columns: 200,
      rows: 50,
    });
    expect(lines[0]).toContain('EVENTS MISSING 5');
    expect(lines.join('')).not.toMatch(/[\p{Cc}]/u);
  });

  test('an empty cluster says what to expect', () => {
    const text = screenLines(take(new ClusterState(), START), { columns: 100, rows: 30 }).join('\n');
    expect(text).toContain('workers 0 of 0 alive');
    expect(text).toContain('no worker has said a word yet');
    expect(text).toContain('nothing runs');
  });
});
