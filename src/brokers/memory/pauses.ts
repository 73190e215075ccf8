/** The pauses of a memory space: they live as long as its messages. Bounded by `MOST_PAUSES`. */
import { addPauses, type Pauses, pauseKey, sortPauses } from '../pauses.js';
import type { MemorySpace } from './space.js';

/** @param assertOpen throws once the broker was closed */
export function memoryPauses({ pauses }: MemorySpace, assertOpen: () => void): Pauses {
  return {
    async list() {
      assertOpen();
      return sortPauses(pauses.values());
    },
    async add(added) {
      assertOpen();
      return addPauses(pauses, added, (pause) => ({ ...pause }));
    },
    async remove(names) {
      assertOpen();
      return names.map((name) => pauses.delete(pauseKey(name)));
    },
  };
}
