/**
 * Crons in every IANA zone, held to an oracle that shares nothing with the search: it walks instants minute by minute, asks `Intl` what
 * the clock shows, and looks at nothing else. Every change of every clock from 2020 to 2035, with expressions drawn around it.
 *
 * Everyday the walk is hours around each change and few expressions; `SCHEDULES_FULL=1` takes days and many. `SCHEDULES_SEED=n` plays a
 * run again; the seed stands in the titles.
 */
import { describe, expect, test } from 'vitest';
import { nextSlot, parseSchedule, type RepeatedTimes, type SkippedTimes } from './index.js';

const FULL = process.env['SCHEDULES_FULL'] === '1';
const seed = Number(process.env['SCHEDULES_SEED'] ?? Date.now() % 1_000_000);
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const FROM = Date.UTC(2020, 0, 1);
const TO = Date.UTC(2036, 0, 1);
const ZONES = Intl.supportedValuesOf('timeZone');

let state = seed >>> 0;
/** A whole number from 0 up to, but not, `below`. */
const draw = (below: number): number => {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
};
const oneOf = <T>(values: readonly T[]): T => values[draw(values.length)] as T;

/** What a clock shows. `label`: the same as milliseconds, to be compared and counted on. */
interface Shown {
  readonly atMs: number;
  readonly label: number;
  readonly month: number;
  readonly day: number;
  readonly weekday: number;
  readonly hour: number;
  readonly minute: number;
}

/** The clock of a zone: what it shows at an instant. */
function clockOf(zone: string): (atMs: number) => Shown {
  const format = new Intl.DateTimeFormat('sv-SE', { timeZone: zone, dateStyle: 'short', timeStyle: 'medium' });
  return (atMs) => {
    // '2026-03-29 03:00:00'
    const text = format.format(atMs);
    const month = Number(text.slice(5, 7));
    const day = Number(text.slice(8, 10));
    const hour = Number(text.slice(11, 13));
    const minute = Number(text.slice(14, 16));
    const year = Number(text.slice(0, 4));
    const label = Date.UTC(year, month - 1, day, hour, minute);
    return { atMs, label, month, day, hour, minute, weekday: new Date(label).getUTCDay() };
  };
}

/** Clocks are looked at so often to find their changes; nobody changes them twice, there and back, in between. */
const LOOK = FULL ? DAY : 7 * DAY;

/** The first minutes of a new offset. */
function changesOf(clock: (atMs: number) => Shown): number[] {
  const ahead = (atMs: number): number => clock(atMs).label - atMs;
  const changes: number[] = [];
  let known = ahead(FROM);
  for (let from = FROM; from < TO; from += LOOK) {
    const before = known;
    known = ahead(from + LOOK);
    if (before === known) continue;
    for (let hour = from; hour < from + LOOK; hour += HOUR) {
      if (ahead(hour) === ahead(hour + HOUR)) continue;
      for (let minute = hour; minute < hour + HOUR; minute += MINUTE)
        if (ahead(minute) !== ahead(minute + MINUTE)) changes.push(minute + MINUTE);
    }
  }
  return changes;
}

interface Expression {
  readonly text: string;
  readonly minutes: ReadonlySet<number>;
  readonly hours: ReadonlySet<number>;
  readonly days: ReadonlySet<number>;
  readonly weekdays: ReadonlySet<number>;
}

const upTo = (count: number, from = 0): number[] => Array.from({ length: count }, (_value, place) => place + from);

function field(values: readonly number[], all: readonly number[]): { text: string; set: ReadonlySet<number> } {
  const set = new Set(values);
  return { text: set.size === all.length ? '*' : [...set].join(','), set };
}

/** Drawn so that it has something to do with the clock's face at `near`. */
function expressionNear(near: Shown): Expression {
  const hoursNear = upTo(1 + draw(4)).map((more) => (near.hour + 22 + more + draw(2)) % 24);
  const minute = field(
    oneOf([[0], [30], [draw(60)], [0, 15, 30, 45], [draw(60), draw(60)], upTo(60), upTo(12).map((n) => n * 5)]),
    upTo(60),
  );
  const hour = field(
    oneOf([hoursNear, [near.hour], [(near.hour + 23) % 24], upTo(24), upTo(12).map((n) => n * 2), [draw(24)]]),
    upTo(24),
  );
  const days = upTo(31, 1);
  const day = field(
    draw(4) === 0 ? [near.day, 1 + draw(28)] : draw(8) === 0 ? days.filter((one) => one !== near.day) : days,
    days,
  );
  const weekday = field(draw(4) === 0 ? [near.weekday, draw(7)] : upTo(7), upTo(7));
  return {
    text: `${minute.text} ${hour.text} ${day.text} * ${weekday.text}`,
    minutes: minute.set,
    hours: hour.set,
    days: day.set,
    weekdays: weekday.set,
  };
}

interface Policy {
  readonly skipped?: SkippedTimes;
  readonly repeated?: RepeatedTimes;
}
const POLICIES: readonly Policy[] = [
  {},
  {},
  { skipped: 'skip', repeated: 'second' },
  { skipped: 'next', repeated: 'both' },
  { skipped: 'next', repeated: 'first' },
  { repeated: 'second' },
];

function fits({ minutes, hours, days, weekdays }: Expression, shown: Pick<Shown, 'label'>): boolean {
  const at = new Date(shown.label);
  return (
    minutes.has(at.getUTCMinutes()) && hours.has(at.getUTCHours()) && days.has(at.getUTCDate()) && weekdays.has(at.getUTCDay())
  );
}

/** The slots within a walk, by what the clock showed. */
function slotsOfWalk(
  walk: readonly Shown[],
  times: ReadonlyMap<number, readonly number[]>,
  expression: Expression,
  policy: Policy,
): number[] {
  const runsOn = expression.hours.size === 24;
  const skipped = policy.skipped ?? (runsOn ? 'skip' : 'next');
  const repeated = policy.repeated ?? (runsOn ? 'both' : 'first');
  const slots: number[] = [];
  let previous: Shown | undefined;
  for (const shown of walk) {
    let due = false;
    if (expression.minutes.has(shown.minute) && fits(expression, shown)) {
      const all = times.get(shown.label) ?? [];
      due = repeated === 'both' || (repeated === 'first' ? all[0] : all.at(-1)) === shown.atMs;
    }
    if (!due && previous && skipped === 'next') {
      for (let label = previous.label + MINUTE; label < shown.label && !due; label += MINUTE) due = fits(expression, { label });
    }
    if (due) slots.push(shown.atMs);
    previous = shown;
  }
  return slots;
}

function walkOf(clock: (atMs: number) => Shown, fromMs: number, toMs: number): [Shown[], Map<number, number[]>] {
  const walk: Shown[] = [];
  const times = new Map<number, number[]>();
  for (let at = fromMs; at <= toMs; at += MINUTE) {
    const shown = clock(at);
    walk.push(shown);
    const all = times.get(shown.label);
    if (all) all.push(at);
    else times.set(shown.label, [at]);
  }
  return [walk, times];
}

/** What is wrong within a walk, in words. */
function compare(
  zone: string,
  clock: (atMs: number) => Shown,
  fromMs: number,
  toMs: number,
  nearMs: number,
  count: number,
): string[] {
  const [walk, times] = walkOf(clock, fromMs, toMs);
  return upTo(count).flatMap(() => {
    const expression = expressionNear(clock(nearMs + (draw(5) - 2) * 30 * MINUTE));
    const policy = oneOf(POLICIES);
    const schedule = parseSchedule({ cron: expression.text, timezone: zone, dst: policy });
    const found: number[] = [];
    for (let slot = nextSlot(schedule, fromMs); slot !== undefined && slot <= toMs; slot = nextSlot(schedule, slot))
      found.push(slot);
    // The first minute has no minute before it to tell a gap by.
    const wanted = slotsOfWalk(walk, times, expression, policy).filter((slot) => slot > fromMs);
    if (String(found) === String(wanted)) return [];
    const odd = [...found.filter((one) => !wanted.includes(one)), ...wanted.filter((one) => !found.includes(one))];
    return [`${zone} ${expression.text} ${JSON.stringify(policy)}: ${odd.slice(0, 3).map((one) => new Date(one).toISOString())}`];
  });
}

describe(`crons beside a minute-by-minute walk, seed ${seed}${FULL ? ', full' : ''}`, () => {
  test('around every change of every clock from 2020 to 2035', { timeout: 3_600_000 }, () => {
    const wrong: string[] = [];
    let changes = 0;
    for (const zone of ZONES) {
      const clock = clockOf(zone);
      for (const change of changesOf(clock)) {
        changes += 1;
        const shift = Math.abs(clock(change).label - clock(change - MINUTE).label - MINUTE);
        const radius = FULL ? 26 * HOUR : 1.5 * HOUR + shift;
        wrong.push(...compare(zone, clock, change - radius, change + radius, change, FULL ? 12 : 3));
        if (wrong.length > 10) break;
      }
    }
    expect(wrong).toEqual([]);
    expect(changes).toBeGreaterThan(3_000);
    console.log(`${changes} changes in ${ZONES.length} zones, seed ${seed}`);
  });

  test('on days drawn from all zones and years', { timeout: 600_000 }, () => {
    const wrong = upTo(FULL ? 3_000 : 150).flatMap(() => {
      const zone = oneOf(ZONES);
      const from = FROM + draw((TO - FROM) / MINUTE) * MINUTE;
      return compare(zone, clockOf(zone), from - 14 * HOUR, from + 14 * HOUR, from, 3);
    });
    expect(wrong).toEqual([]);
  });

  test('on rare days, months and years away', { timeout: 600_000 }, () => {
    const wrong = upTo(FULL ? 2_000 : 60).flatMap(() => {
      const zone = oneOf(ZONES);
      const clock = clockOf(zone);
      const [minute, hour, day, month, weekday] = [draw(60), draw(24), 1 + draw(31), 1 + draw(12), draw(8)];
      if (day > new Date(Date.UTC(2024, month, 0)).getUTCDate()) return [];
      const schedule = parseSchedule({
        cron: `${minute} ${hour} ${day} ${month} ${weekday === 7 ? '*' : weekday}`,
        timezone: zone,
        dst: { skipped: 'skip', repeated: 'first' },
      });
      const after = FROM + draw((TO - FROM) / 2 / MINUTE) * MINUTE;
      const found = nextSlot(schedule, after);
      // Day by day: does the date fit, and when does the clock show it?
      for (let date = Math.floor(after / DAY) * DAY - DAY; date < after + 41 * 366 * DAY; date += DAY) {
        const on = new Date(date);
        if (on.getUTCDate() !== day || on.getUTCMonth() + 1 !== month || (weekday < 7 && on.getUTCDay() !== weekday)) continue;
        const label = date + hour * HOUR + minute * MINUTE;
        let at = label - 15 * HOUR;
        while (at < label + 15 * HOUR && clock(at).label !== label) at += 15 * MINUTE;
        if (at <= after || clock(at).label !== label) continue;
        return found === at ? [] : [`${zone} ${minute} ${hour} ${day} ${month} ${weekday} after ${after}: ${found}, not ${at}`];
      }
      return found === undefined
        ? []
        : [`${zone} ${minute} ${hour} ${day} ${month} ${weekday} after ${after}: ${found}, not none`];
    });
    expect(wrong).toEqual([]);
  });
});
