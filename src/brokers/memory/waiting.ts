/** A way through a queue of a memory space, for `brokers/waiting.ts`. Removing costs a pass over the queue a step: it is the reference, not the fast one. */
import type { WireMessage } from '../../wire/message.js';
import type { Met, WaitingWalk } from '../waiting.js';
import type { Entry } from './queue.js';
import type { MemorySpace } from './space.js';

interface MetEntry extends Met {
  readonly entry: Entry;
}

/** @param assertOpen throws once the broker was closed */
export function memoryWalk(space: MemorySpace, assertOpen: () => void): (queue: string) => Promise<WaitingWalk> {
  return async (name) => {
    assertOpen();
    const queue = space.queues.get(name);
    // references to what is there now; the messages are shared
    const there = queue
      ? [
          ...Array.from(queue, (entry) => ({ entry, notBeforeMs: null })),
          ...space.delays.of(queue).map(({ entry, atMs }) => ({ entry, notBeforeMs: atMs })),
        ]
      : [];
    let at = 0;
    const walk: WaitingWalk<MetEntry> = {
      total: there.length,
      next: async (limit) => {
        assertOpen();
        const page = there.slice(at, at + limit);
        at += page.length;
        if (page.length === 0) return null;
        const met = page
          .filter(({ entry }) => entry.message !== null)
          .map((each) => ({ ...each, message: each.entry.message as WireMessage, size: 1_024 }));
        return { looked: page.length, met };
      },
      take: async (messages, to) => {
        assertOpen();
        if (!queue) return messages.map(() => false);
        const chosen = new Set(messages.map(({ entry }) => entry));
        const ready = queue.extract(chosen);
        const delayed = space.extractDelayed(queue, chosen);
        if (to !== null) {
          const target = space.queue(to);
          for (const { entry } of messages) {
            const atMs = delayed.get(entry);
            if (ready.has(entry)) target.pushBack(entry);
            else if (atMs !== undefined) space.delay(target, entry, atMs);
          }
          space.schedulePump();
        }
        return messages.map(({ entry }) => ready.has(entry) || delayed.has(entry));
      },
      close: async () => {},
    };
    return walk as WaitingWalk;
  };
}
