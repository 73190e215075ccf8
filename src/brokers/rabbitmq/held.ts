/** What a session holds: a delivery with its place at the broker. */
import type { ConsumeMessage } from '../../clients/amqp.js';
import type { Arrival } from '../broker.js';
import type { Session } from './session.js';

/** A delivery that the broker has given to this session. */
export interface Held {
  /** Replaced by one with its losses once they are known, before the engine has it. */
  arrival: Arrival;
  /** Who had claimed it before us, until that has been looked into. */
  holder: string | null;
  /** When that claim ended, by the broker's wall clock; `null` = unknown. */
  readonly orphanedMs: number | null;
  /** The message names such a holder; given back by a frame it would go on to do so. */
  readonly claimedBefore: boolean;
  /** As it came; kept only for what is no message, whose properties are parked with it. */
  readonly received: ConsumeMessage | null;
  readonly session: Session;
  /** Another return could make a quorum queue drop it, so it goes back as a copy. */
  readonly returned: boolean;
  /** Of the message, or of the claim that took its place. */
  deliveryTag: number;
  /** When the broker gave us that; monotonic. */
  sinceMs: number;
  /** It came back from a claim, and goes before the others of its queue. */
  readonly isOrphan: boolean;
  /** What it counts against; `null` = claimed: the original has gone. */
  window: Window | null;
}

/**
 * Whether handing it back by a frame could make the broker drop it, or would have its last holder looked for again, who may be dead by
 * then. A claim goes by a frame: it is dead-lettered, which counts nothing.
 */
export const goesBackByCopy = (held: Held): boolean =>
  held.window !== null && (held.returned || (held.claimedBefore && held.holder === null));

/** The subscriptions to one queue: together they let the broker have `size` deliveries out, and `open` are. */
export interface Window {
  readonly tags: string[];
  size: number;
  open: number;
}
