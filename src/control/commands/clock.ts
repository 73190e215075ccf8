/** Life and time: `ping`, `clock`, and `hello`, by which a starting Python worker learns what the others know (wire section 10). */
import type { ControlCommand } from '../command.js';
import { ok } from '../command.js';

/**
 * Celery sends all that it has, which was megabytes from each peer after an incident. The newest matter most; the others are
 * found by asking the broker, or have run out.
 */
export const HELLO_BYTES = 64 * 1_024;
/** Of a foreign list so many are heard. */
const MOST_HEARD = 50_000;
/** What an entry takes besides its id, twice: `"id": [1795229374.8560753, "id"], `. */
const ENTRY_BYTES = 40;

export const clockCommands: readonly ControlCommand[] = [
  { name: 'ping', open: true, run: () => ok('pong') },
  { name: 'clock', open: true, run: (_args, { clock }) => ({ clock: clock.value }) },
  {
    name: 'hello',
    parameters: ['from_node', 'revoked?'],
    open: true,
    run({ from_node: from, revoked }, { port, clock }) {
      if (from === port.nodeName) return null;
      if (typeof revoked === 'object' && revoked !== null && !Array.isArray(revoked))
        port.revocation.hear(Object.keys(revoked).slice(0, MOST_HEARD));
      return { revoked: newestRevoked(port.revocation.list(HELLO_BYTES)), clock: clock.tick() };
    },
  },
];

/** Newest first. The times are for their order alone: a receiver must not take them for its own clock's (SURPRISES 33). */
function newestRevoked(ids: readonly string[]): object {
  const nowS = performance.now() / 1_000;
  const map: Record<string, [number, string]> = {};
  let left = HELLO_BYTES;
  for (const [index, id] of ids.entries()) {
    left -= 2 * Buffer.byteLength(id) + ENTRY_BYTES;
    if (left < 0) break;
    map[id] = [nowS - index / 1_000, id];
  }
  return map;
}
