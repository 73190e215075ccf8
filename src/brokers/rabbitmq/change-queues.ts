/** Carries out a change of what a consumer takes, on its session if there is one. Called by `consumer.ts`, one at a time. */
import type { ConsumeWish } from '../broker.js';
import type { CreditGate } from './credit-gate.js';
import type { Held } from './held.js';
import type { Session } from './session.js';

export interface ChangeOptions {
  readonly gate: CreditGate<Held>;
  /** `undefined`: the next one subscribes to what is wanted then. */
  readonly session: Session | undefined;
  /** Puts back what was prefetched and never seen by the engine. */
  giveBack(waiting: readonly Held[]): void;
  /** The session is to take the orphans of this queue too. */
  takeOrphans(queue: string, session: Session): void;
  /** Credit has changed: subscriptions are made or widened. */
  look(): void;
}

export async function changeQueues(
  { queues, credit }: ConsumeWish,
  { gate, session, giveBack, takeOrphans, look }: ChangeOptions,
): Promise<void> {
  const left = gate.change(queues, credit);
  look();
  for (const { name } of queues) if (session?.open && session.orphansOf(name) === undefined) takeOrphans(name, session);
  for (const queue of left) {
    if (session?.open) {
      await session.leave(queue);
      // what was on its way when we left has come by then
      giveBack(gate.clear(queue));
    }
    gate.forget(queue);
  }
}
