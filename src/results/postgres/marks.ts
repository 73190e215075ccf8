/** Ids of revoked tasks in PostgreSQL: a timed set (`core/timed-set.ts`). Nobody asks for the version in vain: it is one small statement. */
import { textArray } from '../../clients/postgres-library.js';
import { LONGEST_NAME, MOST_REVOCATIONS, type TimedSet } from '../../core/timed-set.js';
import type { Ask } from './index.js';
import type { Statements } from './statements.js';
import { decode, encode, keyOf, ttlOf } from './texts.js';

const PAGE = 1_000;

export function postgresMarks(ask: Ask, statements: Statements): TimedSet {
  const isName = (name: string): boolean => name !== '' && name.length <= LONGEST_NAME;
  return {
    add: async (names, ttlMs) => {
      const fit = names.filter(isName);
      let answers = '';
      for (let from = 0; from < fit.length; from += PAGE) {
        const page = fit.slice(from, from + PAGE);
        const values = [textArray(page.map(keyOf)), textArray(page.map(encode)), ttlOf(ttlMs), MOST_REVOCATIONS];
        const [row] = await ask<{ readonly answers: string }>(statements.addMarks, values, 'read');
        answers += row?.answers ?? '';
      }
      let next = 0;
      return names.map((name) => isName(name) && answers[next++] === 'y');
    },
    version: async () => {
      const [row] = await ask<{ readonly version: number }>(statements.markVersion, [], 'read');
      return row?.version ?? 0;
    },
    find: async (names) => {
      const found = new Set<string>();
      const fit = names.filter(isName);
      for (let from = 0; from < fit.length; from += PAGE) {
        const keys = textArray(fit.slice(from, from + PAGE).map(keyOf));
        for (const { name } of await ask<{ readonly name: string }>(statements.findMarks, [keys], 'read'))
          found.add(decode(name));
      }
      return found;
    },
    list: async (limit) => {
      if (limit <= 0) return [];
      return (await ask<{ readonly name: string }>(statements.listMarks, [limit], 'read')).map(({ name }) => decode(name));
    },
  };
}
