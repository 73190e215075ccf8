/** Carries out a change of what a consumer takes, on its session if there is one. Called by `consumer.ts`, one at a time. */
import type { ConsumeWish } from '../broker.js';
import type { CreditGate } from './credit-gate.js';
import type { Held, Session } from './session.js';

export interface ChangeOptions {
  readonly gate: CreditGate<Held>;
  /** `undefined`: the next one subscribes to what is wanted then. */
  readonly session: Session | undefined;
  /** Puts back what was prefetched and never seen by the engine. */
  giveBack(waiting: readonly Held[]): void;
  /** Credit has changed: subscriptions are made or widened. */
  look(): void;
}

export async function changeQueues(
  { queues, credit }: ConsumeWish,
  { gate, session, giveBack, look }: ChangeOptions,
): Promise<void> {
  const left = gate.change(queues, credit);
  look();
  for (const queue of left) {
    if (session?.open) {
      await session.unsubscribe(queue);
      // what was on its way when we left has come by then
      giveBack(gate.clear(queue));
    }
    gate.forget(queue);
  }
}
