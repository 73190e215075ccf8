/** The dead letters of a memory space, for `keyed-dead-letters.ts`. Their number is bounded where they are made (`space.ts`). */
import type { DeadLetter } from '../dead-letters.js';
import { type DeadStore, putBackFault } from '../keyed-dead-letters.js';
import type { MemorySpace } from './space.js';

/** @param assertOpen throws once the broker was closed */
export function memoryDeadStore(space: MemorySpace, assertOpen: () => void): DeadStore {
  const letters = (): DeadLetter[] => {
    assertOpen();
    return Array.from(space.dead.values(), ({ letter }) => letter);
  };
  return {
    count: async () => letters().length,
    page: async (towards, beyond, limit) => {
      const ordered = letters().sort((a, b) => (a.id < b.id ? -1 : 1));
      if (towards === 'newer') return ordered.filter(({ id }) => beyond === null || id > beyond).slice(0, limit);
      return ordered
        .reverse()
        .filter(({ id }) => beyond === null || id < beyond)
        .slice(0, limit);
    },
    find: async (ids) => {
      assertOpen();
      return ids.map((id) => space.dead.get(id)?.letter ?? null);
    },
    contents: async (wanted) => wanted.map(({ id }) => space.dead.get(id) ?? null),
    putBack: async (returns) =>
      returns.map(({ letter: { id, queue: origin }, message, queue }) => {
        const parked = space.dead.get(id);
        if (!parked) return false;
        // taken out first: a space that is full of dead letters must be able to send them back
        space.dead.delete(id);
        const refused = space.accept({ to: { queue: queue ?? origin }, message });
        if (refused === null) return true;
        space.dead.set(id, parked);
        return putBackFault(refused);
      }),
    remove: async (wanted) => wanted.reduce((count, { id }) => count + (space.dead.delete(id) ? 1 : 0), 0),
  };
}
