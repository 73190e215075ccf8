/**
 * Crontabs here and in real Celery: random expressions come to the same instants, in UTC (`crontab_next.py` asks Celery, one process
 * for all of them). Where Celery refuses an expression, so do we. `SCHEDULES_SEED` plays a run again.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  type CronFieldOptions,
  importCeleryBeat,
  nextSlot,
  parseSchedule,
  slotsBetween,
} from '../../src/beat/schedules/index.js';
import { codeOf } from '../../src/core/errors.js';
import { hasCelery, PYTHONS } from '../support/celery.js';

type Fields = Readonly<Record<'minute' | 'hour' | 'day_of_week' | 'day_of_month' | 'month_of_year', string | number>>;
interface Case {
  readonly fields: Fields | string;
  /** Epoch seconds. */
  readonly after: number;
  readonly count: number;
}
type Answer = { readonly slots: readonly number[]; readonly repr: string | null } | { readonly error: string };

const CASES = 600;
const SLOTS = 6;
const seed = Number(process.env['SCHEDULES_SEED'] ?? Date.now() % 1_000_000);
let state = seed;
/** A whole number from 0 up to, but not, `below`. */
const draw = (below: number): number => {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
};

const DAYS = ['sun', 'Mon', 'tuesday', 'WED', 'thurs', 'fri', 'saturday'];
const MONTHS = ['jan', 'February', 'MAR', 'apr', 'may', 'June', 'jul', 'aug', 'Sept', 'oct', 'nov', 'december'];

function part(min: number, max: number, names: readonly string[]): string {
  const value = (): string => {
    const number = min + draw(max - min + 1);
    return names.length > 0 && draw(3) === 0 ? (names[number - min] as string) : String(number);
  };
  switch (draw(6)) {
    case 0:
      return `*/${1 + draw(max)}`;
    case 1:
      return `${value()}-${value()}`; // wraps around where the second is the smaller one
    case 2:
      return `${value()}-${value()}/${1 + draw(6)}`;
    default:
      return value();
  }
}

function field(min: number, max: number, stars: number, names: readonly string[] = []): string {
  if (draw(10) < stars) return '*';
  return Array.from({ length: 1 + draw(3) }, () => part(min, max, names)).join(',');
}

function randomCase(): Case {
  const fields: Fields = {
    minute: field(0, 59, 2),
    hour: field(0, 23, 3),
    day_of_week: field(0, 6, 6, DAYS),
    day_of_month: field(1, 28 + draw(4), 5),
    month_of_year: field(1, 12, 6, MONTHS),
  };
  const text = `${fields.minute} ${fields.hour} ${fields.day_of_month} ${fields.month_of_year} ${fields.day_of_week}`;
  return { fields: draw(2) === 0 ? fields : text, after: Date.UTC(2020, 0, 1) / 1_000 + draw(15 * 365 * 86_400), count: SLOTS };
}

/** Expressions that somebody gets wrong, and those at the edges. */
const EDGES: readonly string[] = [
  '0 0 13 * 5',
  '0 0 29 2 *',
  '0 0 29 2 1',
  '0 0 31 */2 *',
  '59 23 31 12 *',
  '* * * * *',
  '*/7 */5 */3 */2 */2',
  '0 22-4/2 * * *',
  '50-10/5 * * * *',
  '0 0 25-5 11-2 fri-mon',
  '15,45 8-18 1-7 * mon',
];
const WRONG: readonly string[] = [
  '60 * * * *',
  '* 24 * * *',
  '* * 0 * *',
  '* * 32 * *',
  '* * * 13 *',
  '* * * * 8',
  '*/0 * * * *',
  '*/x * * * *',
  ', * * * *',
  '1, * * * *',
  '-5 * * * *',
  '5/15 * * * *',
  '* * * * foo',
  '* * * *',
  '* * L * *',
  '1-70 * * * *',
];

const ask = (cases: readonly Case[]): readonly Answer[] => {
  const script = fileURLToPath(new URL('./crontab_next.py', import.meta.url));
  const run = spawnSync(PYTHONS['5.6'], [script], { input: JSON.stringify(cases), encoding: 'utf8', maxBuffer: 64 * 2 ** 20 });
  if (run.status !== 0) throw new Error(run.stderr);
  const said = JSON.parse(run.stdout) as { readonly celery: string; readonly answers: readonly Answer[] };
  expect(said.celery).toMatch(/^5\.6\./);
  return said.answers;
};

const ours = (fields: Fields | string): CronFieldOptions | string =>
  typeof fields === 'string'
    ? fields
    : {
        minute: fields.minute,
        hour: fields.hour,
        dayOfWeek: fields.day_of_week,
        dayOfMonth: fields.day_of_month,
        monthOfYear: fields.month_of_year,
      };

describe.runIf(hasCelery('5.6') || process.env['CI'])(`crontabs beside Celery 5.6, seed ${seed}`, () => {
  const at = Date.UTC(2026, 10, 21, 12, 34, 56) / 1_000;
  const cases: readonly Case[] = [
    ...EDGES.map((fields) => ({ fields, after: at, count: SLOTS })),
    ...WRONG.map((fields) => ({ fields, after: at, count: 1 })),
    ...Array.from({ length: CASES }, randomCase),
  ];
  let answers: readonly Answer[];
  beforeAll(() => {
    answers = ask(cases);
  });

  test('random expressions come to the same instants', () => {
    const wrong: string[] = [];
    let compared = 0;
    for (const [index, { fields, after, count }] of cases.entries()) {
      const answer = answers[index] as Answer;
      if ('error' in answer) continue;
      compared += 1;
      const schedule = parseSchedule({ cron: ours(fields) });
      const slots = slotsBetween(schedule, after * 1_000, Date.UTC(2400, 0, 1), count).slots.map((ms) => ms / 1_000);
      if (String(slots) !== String(answer.slots)) {
        const show = (seconds: readonly number[]): string => seconds.map((one) => new Date(one * 1_000).toISOString()).join(' ');
        wrong.push(`${JSON.stringify(fields)} after ${show([after])}: ours ${show(slots)}, Celery ${show(answer.slots)}`);
      }
    }
    expect(wrong).toEqual([]);
    expect(compared).toBeGreaterThan(CASES / 2);
  });

  test('what one of the two refuses, the other refuses', () => {
    const wrong = cases.flatMap(({ fields }, index) => {
      const answer = answers[index] as Answer;
      let refusal: string | undefined;
      try {
        parseSchedule({ cron: ours(fields) });
      } catch (error) {
        refusal = codeOf(error);
      }
      const theirs = 'error' in answer ? answer.error : undefined;
      return (refusal === undefined) === (theirs === undefined)
        ? []
        : [`${JSON.stringify(fields)}: ${refusal} here, ${theirs} there`];
    });
    expect(wrong).toEqual([]);
    expect(WRONG.filter((_text, place) => !('error' in (answers[EDGES.length + place] as Answer)))).toEqual([]);
  });

  test('what Celery prints for a crontab means the same here', () => {
    let read = 0;
    for (const [index, { fields, after }] of cases.entries()) {
      const answer = answers[index] as Answer;
      if ('error' in answer || answer.repr === null) continue;
      const { entries, refused } = importCeleryBeat({ one: { task: 't', schedule: answer.repr } });
      expect(refused).toEqual([]);
      expect(nextSlot(entries[0]!.resolved.schedule, after * 1_000), answer.repr).toBe(
        nextSlot(parseSchedule({ cron: ours(fields) }), after * 1_000),
      );
      read += 1;
    }
    expect(read).toBeGreaterThan(CASES / 4);
  });
});
