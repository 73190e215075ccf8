/** Schedules in words. */
import { expect, test } from 'vitest';
import { describeSchedule, parseSchedule } from './index.js';
import type { TimingOptions } from './types.js';

test.each<[TimingOptions, string]>([
  [{ cron: '* * * * *' }, 'Every minute, UTC'],
  [{ cron: '*/5 * * * *' }, 'Every 5 minutes, UTC'],
  [{ cron: '0 2 * * *', timezone: 'Europe/Berlin' }, 'At 02:00, Europe/Berlin'],
  [{ cron: '30 8,14 * * mon-fri' }, 'At 08:30 and 14:30 on Monday to Friday, UTC'],
  [{ cron: '0 0 13 * 5' }, 'At 00:00 on day 13 of the month if that is a Friday, UTC'],
  [
    { cron: '0 0 1-7 jan,jul mon,tue' },
    'At 00:00 on day 1 to 7 of the month if that is a Monday or Tuesday in January and July, UTC',
  ],
  [{ cron: '7 * * * *' }, 'At minute 7 of every hour, UTC'],
  [{ cron: '0 */2 * * *' }, 'At minute 0 of every 2nd hour, UTC'],
  [{ cron: '*/5 */3 * * *' }, 'Every 5 minutes in every 3rd hour, UTC'],
  [{ cron: '15,45 8-18 * * *' }, 'At minutes 15 and 45 of hours 8 to 18, UTC'],
  [{ cron: '*/10 * * * * *' }, 'Every 10 seconds, UTC'],
  [{ cron: '* * 5 * * *' }, 'Every second in hour 5, UTC'],
  [{ cron: '5,6 * * * * *' }, 'At seconds 5 and 6 of every minute, UTC'],
  [{ cron: '*/2 10-20 * * * *' }, 'Every 2 seconds in minutes 10 to 20 of every hour, UTC'],
  [{ cron: '7 0 2 * * *' }, 'At 02:00:07, UTC'],
  [{ every: '90s' }, 'Every 90 seconds'],
  [{ every: '250ms' }, 'Every 250 ms'],
  [{ every: '1h', anchor: 'last-run' }, '1 hour after the last run'],
  [{ every: '1d', anchor: new Date('2026-11-21T05:00Z') }, 'Every day counted from 2026-11-21T05:00:00Z'],
  [{ solar: { event: 'dawn_civil', lat: -37.8, lon: 144.9 } }, 'At dawn civil at latitude -37.8, longitude 144.9'],
  [{ at: new Date('2026-11-21T05:00Z') }, 'Once at 2026-11-21T05:00:00Z'],
  [
    { every: '2h', jitter: '90s', start: new Date('2026-01-01'), end: new Date('2027-01-01') },
    'Every 2 hours counted from 2026-01-01T00:00:00Z, put off by up to 90 seconds, from 2026-01-01T00:00:00Z, until 2027-01-01T00:00:00Z',
  ],
])('%j in words', (options, words) => {
  expect(describeSchedule(parseSchedule(options))).toBe(words);
});
