import { describe, expect, test } from 'vitest';
import type { WireEvent } from '../wire/event-message.js';
import { EventLines, eventLine } from './event-lines.js';

const at = new Date(2027, 0, 15, 8, 5, 9, 40).getTime() / 1_000;
const event = (type: string, fields: object = {}): WireEvent =>
  ({ type, hostname: 'w1@h', timestamp: at, clock: 1, utcoffset: 0, pid: 7, ...fields }) as WireEvent;

describe('a line of lovage events', () => {
  test('names time, type, sender, task and what is particular to the event', () => {
    expect(eventLine(event('task-succeeded', { uuid: 'an-id', result: '4', runtime: 0.123456 }), 'math.add')).toBe(
      '08:05:09.040  task-succeeded    w1@h  math.add  an-id  result=4 runtime=0.1235',
    );
    expect(eventLine(event('worker-heartbeat', { freq: 2, active: 0, loadavg: [1, 2.5, 3], sw_sys: 'Linux' }), null)).toBe(
      '08:05:09.040  worker-heartbeat  w1@h  freq=2 active=0 loadavg=[1,2.5,3]',
    );
    expect(eventLine(event('task-started', { uuid: 'an-id' }), null)).toBe(
      '08:05:09.040  task-started      w1@h  (name not known)  an-id',
    );
  });

  test('is one line and drives no terminal, whatever the event holds', () => {
    const line = eventLine(
      event('task-failed', {
        uuid: 'i\n\u001b[2J',
        exception: 'a\nb\u001b[31m',
        traceback: 'never\nshown',
        odd: { deep: [1] },
        timestamp: 1e99,
      }),
      'x'.repeat(10_000),
    );
    expect(line).not.toMatch(/[\p{Cc}]/u);
    expect(line).not.toContain('never');
    expect(line).toContain('odd={"deep":[1]}');
    expect(line.startsWith('--:--:--.---')).toBe(true);
    expect(line.length).toBeLessThan(800);
  });
});

describe('the names of tasks', () => {
  test('are remembered from the first event of a task, for as many as fit', () => {
    const lines = new EventLines(null);
    expect(lines.name(event('task-received', { uuid: 'a', name: 'math.add' }))).toBe('math.add');
    expect(lines.name(event('task-started', { uuid: 'a' }))).toBe('math.add');
    expect(lines.name(event('worker-online'))).toBeNull();
    for (let index = 0; index < 10_000; index++) lines.name(event('task-received', { uuid: `t${index}`, name: 'x' }));
    expect(lines.name(event('task-started', { uuid: 'a' }))).toBeNull();
    expect(lines.name(event('task-started', { uuid: 't0' }))).toBe('x');
  });

  test('a task is found by its id or its name', () => {
    const wanted = (task: string, ...events: WireEvent[]): unknown[] => {
      const lines = new EventLines(task);
      return events.filter((each) => lines.wants(each, lines.name(each))).map(({ type, uuid }) => [type, uuid]);
    };
    const events = [
      event('task-received', { uuid: 'a', name: 'math.add' }),
      event('task-received', { uuid: 'b', name: 'math.mul' }),
      ...[event('task-started', { uuid: 'a' }), event('task-started', { uuid: 'b' }), event('worker-online')],
    ];
    const ofA = [
      ['task-received', 'a'],
      ['task-started', 'a'],
    ];
    expect(wanted('math.add', ...events)).toEqual(ofA);
    expect(wanted('a', ...events)).toEqual(ofA);
    expect(wanted('nothing', ...events)).toEqual([]);
  });
});
