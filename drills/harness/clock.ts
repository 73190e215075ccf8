/** The wall clock of processes under a drill, which the drill sets as an operator or a time server does. `set-clock.mjs` shows it to them. */
import { renameSync, writeFileSync } from 'node:fs';

const PRELOAD = new URL('./set-clock.mjs', import.meta.url);

export class SetClock {
  /** Flags of Node for those who are to see it. */
  readonly nodeFlags: readonly string[];
  readonly #file: string;
  #aheadMs = 0;

  constructor(file: string) {
    this.#file = file;
    this.nodeFlags = ['--import', `${PRELOAD}?${new URLSearchParams({ file })}`];
    this.step(0);
  }

  /** What it shows. */
  nowMs(): number {
    return Date.now() + this.#aheadMs;
  }

  /** Sets it forward, or back. */
  step(ms: number): void {
    this.#aheadMs += ms;
    // In one step: whoever looks meanwhile must not find half a number.
    writeFileSync(`${this.#file}.new`, String(this.#aheadMs));
    renameSync(`${this.#file}.new`, this.#file);
  }
}
