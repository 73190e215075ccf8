/**
 * A timed set (`core/timed-set.ts`) in the embedded file: the table `marks`, a row a name with the time at which it ends. The
 * version is the number of the newest row. What has ended is removed by those who write: adding, and handing out messages.
 */
import { LONGEST_NAME, type TimedSet } from '../../core/timed-set.js';
import type { SqliteConnection } from './driver.js';
import type { OperationContext } from './operations.js';
import type { FileSession } from './session.js';

/** So many ended rows go in one transaction. */
const SWEEP_STEP = 1_000;
/** Names in one call to the database. */
const CHUNK = 1_000;

export interface AddArgument {
  readonly names: readonly string[];
  readonly ttlMs: number;
  readonly most: number;
}

/** The operations of the set inside a transaction; a driver adds `calls` to its own. */
export function timedSetOperations(connection: SqliteConnection, context: OperationContext) {
  const firstEnd = connection.prepare('SELECT min(until) AS at FROM marks');
  const dropEnded = connection.prepare('DELETE FROM marks WHERE name IN (SELECT name FROM marks WHERE until <= ? LIMIT ?)');
  const count = connection.prepare('SELECT count(*) AS n FROM marks');
  const known = connection.prepare('SELECT until FROM marks WHERE name = ?');
  const put = connection.prepare('INSERT OR REPLACE INTO marks VALUES(?, ?, ?)');
  const newest = connection.prepare('SELECT max(seq) AS seq FROM marks');
  const find = connection.prepare('SELECT name FROM marks WHERE until > ? AND name IN (SELECT value FROM json_each(?))');
  const list = connection.prepare('SELECT name FROM marks WHERE until > ? ORDER BY until DESC, seq DESC LIMIT ?');

  const sweep = (): void => {
    const at = firstEnd.get([])?.['at'];
    if (typeof at === 'number' && at <= context.nowMs()) dropEnded.run([context.nowMs(), SWEEP_STEP]);
  };

  return {
    /** Ends what is over and tells the version; for those that write anyway. */
    currentVersion: (): number => {
      sweep();
      return Number(newest.get([])?.['seq'] ?? 0);
    },
    calls: {
      markAdd: ({ names, ttlMs, most }: AddArgument): boolean[] => {
        sweep();
        let held = Number(count.get([])?.['n'] ?? 0);
        const untilMs = context.nowMs() + ttlMs;
        return names.map((name) => {
          const until = known.get([name])?.['until'];
          if (until === undefined && held >= most) return false;
          if (until === undefined) held += 1;
          put.run([name, Math.max(Number(until ?? 0), untilMs), context.take('mark', 1)]);
          return true;
        });
      },
      markVersion: (): number => Number(newest.get([])?.['seq'] ?? 0),
      markFind: (names: readonly string[]): string[] =>
        find.all([Date.now(), JSON.stringify(names)]).map(({ name }) => String(name)),
      markList: (limit: number): string[] => list.all([Date.now(), limit]).map(({ name }) => String(name)),
    },
  };
}

/** The set of a driver whose operations include those above. @param assertOpen throws once the driver was closed */
export function sqliteTimedSet(session: FileSession, most: number, assertOpen: () => void): TimedSet {
  const isName = (name: string): boolean => name !== '' && name.length <= LONGEST_NAME;
  return {
    add: async (names, ttlMs) => {
      assertOpen();
      const fit = names.filter(isName);
      const answers: boolean[] = [];
      for (let from = 0; from < fit.length; from += CHUNK) {
        const part = fit.slice(from, from + CHUNK);
        const argument: AddArgument = { names: part, ttlMs: Math.ceil(ttlMs), most };
        answers.push(...(await session.call<boolean[]>('markAdd', argument, { mode: 'durable', weight: part.length })));
      }
      let next = 0;
      return names.map((name) => isName(name) && (answers[next++] as boolean));
    },
    version: async () => {
      assertOpen();
      return session.call<number>('markVersion', null, { mode: 'read' });
    },
    find: async (names) => {
      assertOpen();
      const found = new Set<string>();
      for (let from = 0; from < names.length; from += CHUNK)
        for (const name of await session.call<string[]>('markFind', names.slice(from, from + CHUNK), { mode: 'read' }))
          found.add(name);
      return found;
    },
    list: async (limit) => {
      assertOpen();
      return limit <= 0 ? [] : session.call<string[]>('markList', limit, { mode: 'read' });
    },
  };
}
