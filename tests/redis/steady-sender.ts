/** Sends one message after the other while something happens to the server, and writes down what was confirmed. */
import type { Broker } from '../../src/brokers/broker.js';
import { outgoing, untilWall } from '../../src/testing/conformance/broker-kit.js';

/** How long one send may take, fail-overs included. */
const SEND_MS = 60_000;
const APART_MS = 5;

export interface SteadySender {
  readonly confirmed: string[];
  readonly failed: unknown[];
  /** Resolves when the last send has its answer. */
  stop(): Promise<void>;
}

/** Sends to the queue `q` until it is told to stop. */
export function sendSteadily(broker: Broker, name: string): SteadySender {
  const confirmed: string[] = [];
  const failed: unknown[] = [];
  let isOn = true;
  const running = (async () => {
    for (let number = 0; isOn; number += 1) {
      const id = `${name}.${number}`;
      const [failure] = await broker.publish([outgoing('q', id)], { timeoutMs: SEND_MS });
      if (failure) failed.push(failure);
      else confirmed.push(id);
      await untilWall(Date.now() + APART_MS);
    }
  })().catch((error: unknown) => void failed.push(error));
  const stop = (): Promise<void> => {
    isOn = false;
    return running;
  };
  return { confirmed, failed, stop };
}
