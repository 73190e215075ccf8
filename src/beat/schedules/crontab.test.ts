/** Crontabs as text, fields and Celery's print: what they stand for, and what is refused with which words. */
import { describe, expect, test } from 'vitest';
import { codeOf } from '../../core/errors.js';
import { parseCrontab } from './crontab.js';
import { knownFields, MOST_KNOWN } from './crontab-field.js';
import type { CronFieldOptions, CronFields } from './types.js';

const upTo = (last: number, first = 0): number[] => Array.from({ length: last - first + 1 }, (_value, place) => first + place);
const ALL: CronFields = {
  seconds: [0],
  minutes: upTo(59),
  hours: upTo(23),
  daysOfMonth: upTo(31, 1),
  months: upTo(12, 1),
  daysOfWeek: upTo(6),
};
const failure = (cron: string | CronFieldOptions): { code: string | undefined; message: string } => {
  try {
    parseCrontab(cron, 'cron');
  } catch (error) {
    return { code: codeOf(error), message: (error as Error).message };
  }
  return { code: undefined, message: 'read without an error' };
};

describe('a crontab', () => {
  test.each<[string | CronFieldOptions, Partial<CronFields>]>([
    ['* * * * *', {}],
    ['  0   2 * * *  ', { minutes: [0], hours: [2] }],
    ['*/20 * * * *', { minutes: [0, 20, 40] }],
    ['*/25 * * * *', { minutes: [0, 25, 50] }],
    ['10-40/15,7 * * * *', { minutes: [7, 10, 25, 40] }],
    ['50-10/5 * * * *', { minutes: [0, 5, 10, 50, 55] }],
    ['* 22-4/2 * * *', { hours: [0, 2, 4, 22] }],
    ['* * */10 * *', { daysOfMonth: [1, 11, 21, 31] }],
    ['* * * nov-FEB *', { months: [1, 2, 11, 12] }],
    ['* * * sept,January *', { months: [1, 9] }],
    ['* * * * mon-fri', { daysOfWeek: [1, 2, 3, 4, 5] }],
    ['* * * * Sunday,TUES', { daysOfWeek: [0, 2] }],
    ['* * * * fri-mon', { daysOfWeek: [0, 1, 5, 6] }],
    ['* * * * 7', { daysOfWeek: [0] }],
    ['* * * * 5-7', { daysOfWeek: [0, 5, 6] }],
    ['* * * * 7-2', { daysOfWeek: [0, 1, 2] }],
    ['*/30 * * * * *', { seconds: [0, 30] }],
    ['5 4 3 2 1 *', { seconds: [5], minutes: [4], hours: [3], daysOfMonth: [2], months: [1] }],
    ['@daily', { minutes: [0], hours: [0] }],
    ['@Weekly', { minutes: [0], hours: [0], daysOfWeek: [0] }],
    [{}, {}],
    [
      { minute: 5, hour: [8, 8, 0], dayOfWeek: [7, 1] },
      { minutes: [5], hours: [0, 8], daysOfWeek: [0, 1] },
    ],
    [
      { second: '*/20', monthOfYear: 'may', dayOfMonth: '1, 15' },
      { seconds: [0, 20, 40], months: [5], daysOfMonth: [1, 15] },
    ],
    ['<crontab: {0, 30} 2 * * mon (m/h/dM/MY/d)>', { minutes: [0, 30], hours: [2], daysOfWeek: [1] }],
    [
      '<crontab: [0, 30] 2 mon 1 2 (m/h/d/dM/MY)>',
      { minutes: [0, 30], hours: [2], daysOfWeek: [1], daysOfMonth: [1], months: [2] },
    ],
  ])('%j stands for its values', (cron, values) => {
    expect(parseCrontab(cron, 'cron')).toEqual({ ...ALL, ...values });
  });

  test.each<[string | CronFieldOptions, string]>([
    ['60 * * * *', 'minute 60 is outside 0 to 59'],
    ['* 24 * * *', 'hour 24 is outside'],
    ['* * 0 * *', 'day of month 0 is outside 1 to 31'],
    ['* * * * 8', 'day of week 8 is outside'],
    ['61 * * * * *', 'second 61 is outside'],
    ['1, * * * *', 'minute has an empty part'],
    ['*/0 * * * *', 'has the step "0"'],
    ['*/ * * * *', 'has the step ""'],
    ['5/15 * * * *', 'write 5-59/15'],
    ['1-2-3 * * * *', '"1-2-3" cannot be read'],
    ['-5 * * * *', '"-5" cannot be read'],
    ['*5 * * * *', '"*5" cannot be read'],
    ['* * * may-xy *', '"xy" is no number of 1 to 12 and no name'],
    ['* * * * may', '"may" is no number of 0 to 6 and no name'],
    ['* * * * mo', 'at least three letters'],
    ['* * * * sunflower', '"sunflower" is no number'],
    ['* * L * *', "is Quartz's"],
    ['* * ? * 2#1', "is Quartz's"],
    ['* * * *', 'it has 4 fields'],
    ['', 'it has 0 fields'],
    ['1 2 3 4 5 6 7', 'it has 7 fields'],
    ['@fortnightly', 'known words are @yearly'],
    ['<crontab: 1 2 3 (m/h/dM/MY/d)>', 'it has 3 fields'],
    [{ minute: [] }, 'is an empty list'],
    [{ minute: 1.5 }, '1.5 is no number of 0 to 59'],
    [{ minute: -1 }, '-1 is no number'],
    [{ hour: [0, '5'] as unknown as number[] }, '"5" is no number'],
    [{ minute: '1,'.repeat(400) }, 'is longer than 512 characters'],
    [{ minute: new Array<number>(600).fill(1) }, 'is a list of more than 512'],
    [`${'1,'.repeat(2_000)}1 * * * *`, 'is longer than 2048 characters'],
  ])('%j is refused in words', (cron, words) => {
    const { code, message } = failure(cron);
    expect(message).toContain(words);
    expect(code).toBe('E_SCHEDULE');
  });

  test.each(['0 0 30 2 *', '0 0 31 4,6,9,11 *', '0 0 30-31 feb mon'])('%s names a date that no year has', (cron) => {
    const { code, message } = failure(cron);
    expect(code).toBe('E_SCHEDULE_NEVER');
    expect(message).toContain('no year has day');
  });

  test('an unknown field is answered with the nearest one', () => {
    expect(failure({ minutes: 1 } as CronFieldOptions)).toEqual({
      code: 'E_CONFIG_UNKNOWN_KEY',
      message: 'cron has no option "minutes": did you mean "minute"?',
    });
  });
});

test('equal fields share their values, which nobody can change, and only so many are remembered', () => {
  const one = parseCrontab('5-9 * * * *', 'cron');
  expect(parseCrontab('5-9 3 * * *', 'cron').minutes).toBe(one.minutes);
  expect(Object.isFrozen(one.minutes)).toBe(true);
  for (let step = 1; step < 3 * MOST_KNOWN; step += 1) {
    expect(parseCrontab(`*/${step} * * * *`, 'cron').minutes[0]).toBe(0);
    expect(knownFields()).toBeLessThanOrEqual(MOST_KNOWN);
  }
  expect(parseCrontab('5-9 * * * *', 'cron').minutes).toEqual(one.minutes);
});
