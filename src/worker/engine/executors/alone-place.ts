/**
 * The one place of a worker for a run that must be alone: who has it, who waits for it, and the executor that is emptied for it. One at a
 * time: two could both be the one at fault. Kept by `executors.ts`.
 */
import type { ActiveRun } from '../state.js';

export interface AloneOptions {
  /** The executor with the most free slots but for the reserved one; -1: none has any. */
  freest(): number;
  /** It takes runs and has none. */
  isEmpty(executor: number): boolean;
  give(executor: number, run: ActiveRun): void;
}

export class AlonePlace {
  readonly #options: AloneOptions;
  /** Such a run was admitted and has not ended. */
  #isTaken = false;
  /** The one that needs an executor to itself and waits for one to be empty. */
  #waiting: ActiveRun | null = null;
  /** Those that will need it next; bounded by the credit. */
  readonly #suspects: ActiveRun[] = [];
  /** The executor that is emptied for a run alone, or that has one; -1 for none. */
  #reserved = -1;
  /** The run that `before` was asked about, until it starts or is taken back; and the answer, false until there is one. */
  #asked: ActiveRun | null = null;
  #mayStart = false;
  /** Asked when a run has its place, `null`: it may start. After `false` it does not, and has been withdrawn. Never rejects. */
  before: (run: ActiveRun) => Promise<boolean> | null = () => null;
  /** Told when the place is free and none of ours wants it. */
  onFree: () => void = () => undefined;

  constructor(options: AloneOptions) {
    this.#options = options;
  }

  get isFree(): boolean {
    return !this.#isTaken;
  }

  get waiting(): number {
    return this.#suspects.length + (this.#waiting ? 1 : 0);
  }

  get reserved(): number {
    return this.#reserved;
  }

  /** False when it is taken. */
  take(): boolean {
    if (this.#isTaken) return false;
    this.#isTaken = true;
    return true;
  }

  /** Gives the place back without a run: it turned out that nothing has to run. */
  leave(): void {
    this.#isTaken = false;
    this.#nextSuspect();
    if (!this.#isTaken) this.onFree();
  }

  /** Hands a run over that has taken the place. */
  dispatch(run: ActiveRun): void {
    this.#waiting = run;
    this.tryStart();
  }

  /** Hands one over that must be alone, as soon as the place is free. Its worker lives, so it is held here and nothing is lost. */
  dispatchSuspect(run: ActiveRun): void {
    this.#suspects.push(run);
    this.#nextSuspect();
  }

  /** The suspects that still wait, who are none any more. */
  takeSuspects(): ActiveRun[] {
    return this.#suspects.splice(0);
  }

  /** Takes back what no executor has seen yet. */
  takeWaiting(): ActiveRun[] {
    const alone = this.#waiting ? [this.#waiting] : [];
    this.#waiting = null;
    this.#asked = null;
    this.#isTaken = false;
    return [...alone, ...this.#suspects.splice(0)];
  }

  /** Takes back a run that waits here; false when it does not. */
  withdraw(run: ActiveRun): boolean {
    if (this.#waiting === run) {
      this.#waiting = null;
      this.#asked = null;
      this.#reserved = -1;
      this.leave();
      return true;
    }
    const place = this.#suspects.indexOf(run);
    if (place >= 0) this.#suspects.splice(place, 1);
    return place >= 0;
  }

  /** Gives the run that waits to an executor that has nothing, or keeps one free until it has. */
  tryStart(): void {
    const run = this.#waiting;
    if (run === null) return;
    if (this.#reserved < 0) this.#reserved = this.#options.freest();
    if (!this.#options.isEmpty(this.#reserved)) return;
    if (this.#asked !== run) this.#ask(run);
    if (!this.#mayStart) return;
    this.#asked = null;
    this.#waiting = null;
    this.#options.give(this.#reserved, run);
  }

  /** An executor takes no more runs: one that was being emptied for a run alone is replaced. */
  retired(executor: number): void {
    if (this.#reserved === executor && this.#waiting) this.#mayGo();
  }

  /** An executor has nothing any more, or is gone. */
  emptied(executor: number): void {
    if (this.#reserved === executor) this.#mayGo();
    else this.freed();
  }

  /** Some executor has a free slot more: one may be chosen, if none is yet. */
  freed(): void {
    if (this.#reserved < 0) this.tryStart();
  }

  /** The run that waited starts (there or elsewhere), or the one alone has ended. */
  #mayGo(): void {
    this.#reserved = -1;
    if (this.#waiting) this.tryStart();
    else this.leave();
  }

  #nextSuspect(): void {
    if (this.#isTaken || this.#suspects.length === 0) return;
    this.#isTaken = true;
    this.#waiting = this.#suspects.shift() as ActiveRun;
    this.tryStart();
  }

  #ask(run: ActiveRun): void {
    const asked = this.before(run);
    this.#asked = run;
    this.#mayStart = asked === null;
    void asked?.then((mayStart) => {
      // it may have been withdrawn meanwhile; if its executor has died, another is being emptied
      if (this.#asked !== run) return;
      this.#mayStart = mayStart;
      if (mayStart) this.tryStart();
    });
  }
}
