/** Celery's `beat_schedule` as JSON: what is taken over, how, and what is not and why. */
import { describe, expect, test } from 'vitest';
import { codeOf } from '../../core/errors.js';
import { importCeleryBeat } from './index.js';

const one = (schedule: unknown, more: object = {}, options: Parameters<typeof importCeleryBeat>[1] = {}) =>
  importCeleryBeat({ entry: { task: 'tasks.a', schedule, ...more } }, options);

describe('a schedule of Celery', () => {
  test.each<[string, unknown, object]>([
    ['seconds', 30, { every: '30s', anchor: 'last-run' }],
    ['fractions of seconds', 0.25, { every: '250ms', anchor: 'last-run' }],
    ['a timedelta', { minutes: 1, seconds: 30 }, { every: '90s', anchor: 'last-run' }],
    ["django-celery-beat's interval", { every: 2, period: 'hours' }, { every: '7200s', anchor: 'last-run' }],
    ['a printed interval', '<freq: 1.50 minutes>', { every: '90s', anchor: 'last-run' }],
    [
      'arguments of crontab',
      { hour: 2, minute: '*/5', day_of_week: 'mon' },
      { cron: { hour: 2, minute: '*/5', dayOfWeek: 'mon' }, timezone: 'UTC' },
    ],
    [
      'crontab by name',
      { crontab: { hour: [2, 3], minute: 0, month_of_year: null } },
      { cron: { hour: [2, 3], minute: 0, monthOfYear: '*' }, timezone: 'UTC' },
    ],
    ['a printed crontab', '<crontab: 0 2 * * 1 (m/h/dM/MY/d)>', { cron: '<crontab: 0 2 * * 1 (m/h/dM/MY/d)>', timezone: 'UTC' }],
    ['text of five fields', '0 2 * * 1', { cron: '0 2 * * 1', timezone: 'UTC' }],
    ['solar', { event: 'sunset', lat: -37.8, lon: 144.9 }, { solar: { event: 'sunset', lat: -37.8, lon: 144.9 } }],
    [
      'a printed solar',
      '<solar: sunset at latitude -37.8, longitude: 144.9>',
      { solar: { event: 'sunset', lat: -37.8, lon: 144.9 } },
    ],
  ])('%s is taken over', (_what, schedule, options) => {
    const { entries, refused } = one(schedule);
    expect(refused).toEqual([]);
    expect(entries.map((entry) => entry.options)).toEqual([options]);
  });

  test('relative intervals keep to the clock', () => {
    expect(one(3_600, { relative: true }).entries[0]?.options).toEqual({ every: '3600s' });
  });

  test("crontabs are in the estate's time zone", () => {
    expect(one('0 2 * * *', {}, { timezone: 'Europe/Berlin' }).entries[0]?.resolved.schedule).toMatchObject({
      timezone: 'Europe/Berlin',
    });
  });

  test('a printed interval is rounded, and it is said so', () => {
    expect(one('<freq: 1.67 minutes>').entries[0]?.notes).toEqual([
      '<freq: 1.67 minutes> is rounded by Celery: check that the interval is 100.2 seconds',
    ]);
  });

  test.each<[unknown, string, string]>([
    [undefined, 'E_SCHEDULE', 'seconds, text or an object was expected'],
    [true, 'E_SCHEDULE', 'seconds, text or an object was expected'],
    [0, 'E_SCHEDULE', 'longer than nothing'],
    [-5, 'E_SCHEDULE', 'longer than nothing'],
    ['<freq: now>', 'E_SCHEDULE', 'no crontab, interval or solar event'],
    ['every day', 'E_SCHEDULE', 'no crontab, interval or solar event'],
    [{}, 'E_SCHEDULE', 'no crontab, interval or solar event'],
    [{ seconds: '5' }, 'E_SCHEDULE', 'no crontab, interval or solar event'],
    [{ minute: '61' }, 'E_SCHEDULE', 'minute 61 is outside'],
    [{ day_of_month: 31, month_of_year: 2 }, 'E_SCHEDULE_NEVER', 'no year has day 31'],
    [{ event: 'tea', lat: 1, lon: 1 }, 'E_CONFIG_RANGE', '"tea"'],
  ])('%j is refused, by the name of its entry', (schedule, code, words) => {
    const { entries, refused } = one(schedule);
    expect(entries).toEqual([]);
    expect(refused.map(({ name, error }) => [name, codeOf(error)])).toEqual([['entry', code]]);
    expect(refused[0]?.error.message).toContain(words);
  });
});

describe('the rest of an entry', () => {
  test('arguments and the known options come along, and what is left out is told', () => {
    const { entries } = one(30, {
      args: [1, 'a'],
      kwargs: { deep: true },
      options: { queue: 'slow', priority: 3, expires: 60, headers: { tenant: 'x' }, exchange: 'e', countdown: 5 },
      description: 'x',
    });
    expect(entries[0]).toMatchObject({
      name: 'entry',
      task: 'tasks.a',
      args: [1, 'a'],
      kwargs: { deep: true },
      options: { queue: 'slow', priority: 3, expires: '60s', headers: { tenant: 'x' } },
      notes: ['description was left out', 'options.exchange was left out', 'options.countdown was left out'],
    });
    expect(entries[0]?.resolved).toMatchObject({ queue: 'slow', priority: 3, expiresMs: 60_000 });
  });

  test('priorities of an estate on Redis are turned', () => {
    expect(one(30, { options: { priority: 0 } }, { priorities: '0-first' }).entries[0]?.options).toMatchObject({ priority: 9 });
  });

  test.each<[object, string]>([
    [{ task: '' }, 'task is ""'],
    [{ args: 'abc' }, 'args is "abc"'],
    [{ kwargs: [1] }, 'kwargs is [1]'],
    [{ options: 5 }, 'options is 5'],
    [{ options: { queue: 5 } }, 'options.queue is 5'],
    [{ options: { priority: 'high' } }, 'priority is "high"'],
    [{ options: { expires: '2030-01-01' } }, 'seconds were expected'],
  ])('%j is refused', (more, words) => {
    expect(one(30, more).refused[0]?.error.message).toContain(words);
  });
});

describe('the settings', () => {
  test('may be whole, and a wrong entry does not stop the others', () => {
    const { entries, refused } = importCeleryBeat({
      timezone: 'UTC',
      beat_schedule: { good: { task: 'a', schedule: 5 }, bad: 'x', worse: null, alsoGood: { task: 'b', schedule: '* * * * *' } },
    });
    expect(entries.map(({ name }) => name)).toEqual(['good', 'alsoGood']);
    expect(refused.map(({ name, error }) => [name, codeOf(error)])).toEqual([
      ['bad', 'E_SCHEDULE'],
      ['worse', 'E_SCHEDULE'],
    ]);
  });

  test.each([null, [], 'text', 5])('%j is no settings', (settings) => {
    expect(() => importCeleryBeat(settings)).toThrow('an object of entries was expected');
  });

  test('have a cap on their entries', () => {
    const many = Object.fromEntries(Array.from({ length: 100_001 }, (_value, place) => [`e${place}`, null]));
    expect(() => importCeleryBeat(many)).toThrow('more than 100000');
  });
});
