/**
 * What schedulers must have decided, whatever happened to them: each decision about an entry follows the one before it, sends what the
 * entry's policy says of the slots since then, each once, and counts the others as missed. Shares no code with the scheduler but the ids
 * of slots. Pure.
 */
import { slotTaskId } from '../../src/beat/schedules/index.js';

export type Policy = 'none' | 'last' | 'all';

/** An entry as it was at one of its revisions: due at whole multiples of `everyMs` after `sinceMs`. */
export interface Revision {
  readonly everyMs: number;
  readonly policy: Policy;
  readonly sinceMs: number;
  readonly paused: boolean;
}

/** A decision that the store took. */
export interface Decision {
  readonly entry: string;
  readonly revision: number;
  /** Number of the state that it found. */
  readonly seq: number;
  /** The state that it left. */
  readonly cursorMs: number | null;
  readonly missed: number;
  /** Task ids of its messages. */
  readonly sent: readonly string[];
  /** Task id of the wish that it answers; `null`: it is of slots. */
  readonly wish: string | null;
  /** Of the lead under which it was taken, and the newest one that was held when it was asked for. */
  readonly epoch: number;
  readonly newest: number;
}

/** A slot that is no older than this when it is decided is on time: `docs/guides/schedules.md`. */
const ON_TIME_MS = 6_000;

function slotsIn(everyMs: number, afterMs: number, upToMs: number): number[] {
  const slots: number[] = [];
  for (let slot = Math.floor(afterMs / everyMs) * everyMs + everyMs; slot <= upToMs; slot += everyMs) slots.push(slot);
  return slots;
}

function chosen(policy: Policy, slots: readonly number[], nowMs: number): readonly number[] {
  const onTime = slots.filter((slot) => slot >= nowMs - ON_TIME_MS);
  if (policy === 'all') return slots;
  return policy === 'last' && onTime.length === 0 ? slots.slice(-1) : onTime;
}

/** What is wrong with the decisions of one entry, in words; empty when nothing is. */
function judgeEntry(entry: string, decisions: readonly Decision[], revisions: ReadonlyMap<number, Revision>): string[] {
  const wrong: string[] = [];
  let cursorMs: number | null = null;
  let missed = 0;
  decisions.forEach((decision, index) => {
    const name = `${entry}, decision ${decision.seq}`;
    const revision = revisions.get(decision.revision);
    if (decision.epoch < decision.newest) wrong.push(`${name}: by lead ${decision.epoch}, and ${decision.newest} had been taken`);
    if (decision.seq !== index) wrong.push(`${name}: the one before it is ${index - 1}`);
    if (revision === undefined) {
      wrong.push(`${name}: nobody made revision ${decision.revision}`);
      return;
    }
    const say = (what: string, found: unknown, wanted: unknown): void => {
      if (JSON.stringify(found) !== JSON.stringify(wanted))
        wrong.push(`${name}: ${what} ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`);
    };
    if (decision.wish !== null) {
      say('sends', decision.sent, [decision.wish]);
      say('its cursor is', decision.cursorMs, cursorMs);
      say('counts as missed', decision.missed, missed);
      return;
    }
    if (revision.paused) wrong.push(`${name}: it is paused`);
    const nowMs = decision.cursorMs ?? Number.NaN;
    const slots = slotsIn(revision.everyMs, Math.max(cursorMs ?? revision.sinceMs, revision.sinceMs), nowMs);
    const due = chosen(revision.policy, slots, nowMs);
    if (slots.length === 0) wrong.push(`${name}: there was nothing to decide`);
    say(
      'sends',
      decision.sent,
      due.map((slot) => slotTaskId(entry, slot)),
    );
    say('counts as missed', decision.missed - missed, slots.length - due.length);
    cursorMs = decision.cursorMs;
    missed = decision.missed;
  });
  return wrong;
}

export interface Evidence {
  /** In any order. */
  readonly decisions: readonly Decision[];
  /** Of each entry, by number. */
  readonly revisions: ReadonlyMap<string, ReadonlyMap<number, Revision>>;
  /** Task ids of the messages that lie in the queue, one for each message. */
  readonly queued: readonly string[];
  /** Task ids of all wishes of entries that were not removed. */
  readonly wishes: readonly string[];
}

/** Everything that is wrong, in words. */
export function judge({ decisions, revisions, queued, wishes }: Evidence): string[] {
  const wrong: string[] = [];
  const byEntry = new Map<string, Decision[]>();
  for (const decision of decisions) byEntry.set(decision.entry, [...(byEntry.get(decision.entry) ?? []), decision]);
  for (const [entry, list] of byEntry) {
    list.sort((one, other) => one.seq - other.seq);
    wrong.push(...judgeEntry(entry, list, revisions.get(entry) ?? new Map()));
  }
  const decided = decisions.flatMap(({ sent }) => sent);
  if (new Set(decided).size !== decided.length) wrong.push(`${decided.length - new Set(decided).size} slots were sent twice`);
  const times = new Map<string, number>();
  for (const id of queued) times.set(id, (times.get(id) ?? 0) + 1);
  for (const id of decided) if (!times.has(id)) wrong.push(`${id} was decided and is not in the queue`);
  for (const [id, count] of times) if (count > 1) wrong.push(`${id} is in the queue ${count} times`);
  const known = new Set(decided);
  for (const id of times.keys()) if (!known.has(id)) wrong.push(`${id} is in the queue and nobody decided it`);
  for (const id of wishes) if (!known.has(id)) wrong.push(`the wish ${id} was not carried out`);
  return wrong;
}
