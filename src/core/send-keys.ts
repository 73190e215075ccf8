/** What a broker that has no place for dedupe keys needs of a result store. Types only: stores implement them, `brokers/send-once.ts` asks. */

/** A change of a dedupe key. */
export interface SendKeySwap {
  readonly key: string;
  /** What must stand there; `null` = nothing. */
  readonly expected: string | null;
  /** What stands there from then on; `null` = nothing. */
  readonly value: string | null;
  /** How long it stands there. */
  readonly ttlMs: number;
}

/** A store of dedupe keys; every result store is one, if only to say why it cannot be. */
export interface SendKeyStore {
  readonly name: string;
  /** `true`, or why `swapSendKey` does not work for everybody who sends to the same queues. */
  readonly capabilities: { readonly sendKeys: true | string };
  /**
   * Carries the change out and gives `null`, if what stands there is as expected; else gives what stands there, `''` = nothing.
   * Rejects within a few seconds if the store cannot be reached; then it may have been carried out. Only if `capabilities.sendKeys`.
   */
  swapSendKey?(swap: SendKeySwap): Promise<string | null>;
}
