/**
 * Waiting for a condition that somebody else brings about, with an end: the phases of a stop are made of this. One wait at
 * a time; who changes something calls `check()`, who has no patience calls `hurry()`.
 */
export class Patience {
  #recheck: (() => void) | null = null;
  #end: (() => void) | null = null;
  /** Somebody hurried between two waits; lost, it would cost the whole of the next one, a grace of an hour perhaps. */
  #isHurried = false;

  /** Something has changed: the condition is looked at again. */
  check(): void {
    this.#recheck?.();
  }

  /** Ends the present wait now, or the next one if nobody waits at the moment. */
  hurry(): void {
    if (this.#end) this.#end();
    else this.#isHurried = true;
  }

  /** Resolves when the condition holds, after `timeoutMs`, or when somebody hurries; tells whether it holds. */
  until(condition: () => boolean, timeoutMs: number): Promise<boolean> {
    if (condition()) return Promise.resolve(true);
    if (this.#isHurried) {
      this.#isHurried = false;
      return Promise.resolve(false);
    }
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#recheck = null;
        this.#end = null;
        resolve(condition());
      };
      // Not unref'd: a stop must come to its end even if nothing else keeps the process alive.
      const timer = setTimeout(end, timeoutMs);
      this.#recheck = () => condition() && end();
      this.#end = end;
    });
  }
}
