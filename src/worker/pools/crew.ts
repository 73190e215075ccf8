/**
 * Executors that live in threads or processes of their own: starts them, puts a new one in the place of one that died, and
 * ends those that must end. What a member is (a thread, a child) is its pool's business; when to end one is the engine's.
 */
import { reconnectDelayMs } from '../../core/backoff.js';
import { sleep } from '../../core/clock.js';
import { TaskError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { Engine } from '../engine/engine.js';
import type { EngineEnd } from '../port.js';

/** One executor as its pool starts it. */
export interface Member {
  readonly end: EngineEnd;
  /** Resolves once it is gone, with the reason for people. */
  readonly gone: Promise<string>;
  /** Ends it by force; `gone` follows, except from a thread that is inside a native call. */
  kill(): void;
}

/** A replacement that dies within this time counts as another failure in a row, and the next one waits longer. */
const STABLE_MS = 10_000;
/** A thread that has not ended this long after it was told to is inside a native call. */
const KILL_MS = 1_500;

export class Crew {
  readonly #spawn: (index: number) => Member;
  readonly #logger: Logger;
  readonly #members: Member[] = [];
  #engine: Engine | null = null;
  #stopping = false;
  #failStart: ((error: Error) => void) | null = null;

  constructor(count: number, spawn: (index: number) => Member, logger: Logger) {
    this.#spawn = spawn;
    this.#logger = logger;
    for (let index = 0; index < count; index++) this.#enlist(index, 0);
  }

  get ends(): readonly EngineEnd[] {
    return this.#members.map(({ end }) => end);
  }

  /** Starts the engine on this crew; a member that dies before the engine has started fails the start. */
  async start(engine: Engine): Promise<void> {
    this.#engine = engine;
    const failed = new Promise<never>((_, reject) => {
      this.#failStart = reject;
    });
    try {
      await Promise.race([engine.start(), failed]);
      this.#failStart = null;
    } catch (error) {
      this.#stopping = true;
      await engine.stop(0).catch(() => {});
      await this.close();
      throw error;
    }
  }

  /** Ends one executor by force; another takes its place. `stuck`: it cannot be ended, only the process can. */
  async end(index: number): Promise<'ended' | 'stuck'> {
    const member = this.#members[index];
    if (!member) return 'ended';
    member.kill();
    return await Promise.race([member.gone.then(() => 'ended' as const), sleep(KILL_MS).then(() => 'stuck' as const)]);
  }

  /** From now on who ends was meant to end. */
  stopping(): void {
    this.#stopping = true;
  }

  /** Ends all; false when one is inside a native call and will not end. */
  async close(): Promise<boolean> {
    this.#stopping = true;
    const ends = await Promise.all(this.#members.map((_, index) => this.end(index)));
    return ends.every((end) => end === 'ended');
  }

  #enlist(index: number, failures: number): EngineEnd {
    const startedMs = performance.now();
    const member = this.#spawn(index);
    this.#members[index] = member;
    void member.gone.then((reason) => {
      if (this.#stopping) {
        this.#engine?.executorDied(index, 'stopping');
        return;
      }
      if (this.#failStart || !this.#engine) {
        this.#failStart?.(new TaskError('E_EXECUTOR_START', `an executor died before it was ready: ${reason}`));
        return;
      }
      this.#logger.error({ executor: index, reason }, 'executor died; starting another');
      this.#engine.executorDied(index, reason);
      const failed = performance.now() - startedMs < STABLE_MS ? failures + 1 : 0;
      setTimeout(
        () => {
          if (!this.#stopping) this.#engine?.replaceExecutor(index, this.#enlist(index, failed));
        },
        failed === 0 ? 0 : reconnectDelayMs(failed, Math.random()),
      ).unref();
    });
    return member.end;
  }
}
