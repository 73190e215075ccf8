/** Puts back what was prefetched and never seen by the engine. */
import type { Arrival, Delivery, Settlement } from '../broker.js';
import { goesBackByCopy, type Held } from './held.js';

/** The last first, so that each goes before the one behind it. @param settle for those that go back by a copy */
export function giveBack(waiting: readonly Held[], settle: (settlements: readonly Settlement[]) => void): void {
  const copies = waiting.filter(goesBackByCopy);
  for (const held of waiting.toReversed()) if (held.session.open && !copies.includes(held)) held.session.requeue(held);
  const session = copies[0]?.session;
  if (!session) return;
  // Until they are back they are held like others, so that nothing is lost to them when the channel goes.
  for (const held of copies) session.held.set(held.arrival.tag, held);
  settle(copies.map(({ arrival }) => handBackOf(arrival)));
}

/** Only messages are ever returned by a copy: garbage has no count that could be read. */
export const handBackOf = (arrival: Arrival): Settlement => ({ kind: 'requeue', arrival: arrival as Delivery, where: 'front' });
