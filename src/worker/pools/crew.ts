/**
 * Executors that live in threads or processes of their own: starts them, puts a new one in the place of one that died or
 * retires, and ends those that must end. What a member is (a thread, a child) is its pool's business; when to end or retire
 * one is the engine's.
 */
import { reconnectDelayMs } from '../../core/backoff.js';
import { sleep } from '../../core/clock.js';
import { TaskError, toError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { Engine } from '../engine/engine.js';
import type { ExecutorCrew } from '../engine/executors/roster.js';
import type { EngineEnd } from '../port.js';
import type { PoolSetup, RunningPool } from './pool.js';

/** One executor as its pool starts it. */
export interface Member {
  readonly end: EngineEnd;
  /** Resolves once it is gone, with the reason for people. */
  readonly gone: Promise<string>;
  /** Ends it by force; `gone` follows, except from a thread that is inside a native call. */
  kill(): void;
  /** Ends it when it has nothing to do any more: gently for a moment, then by force. */
  dismiss(): void;
}

export interface CrewOptions {
  /** How many work. */
  readonly count: number;
  /** One more stands ready to take a place. */
  readonly spare: boolean;
  /** Starts one under a number that none had before. */
  readonly spawn: (executor: number) => Member;
  readonly logger: Logger;
}

interface Post {
  readonly member: Member;
  readonly startedMs: number;
  /** `leaving`: there were too many, and nobody takes its place. */
  role: 'working' | 'spare' | 'retiring' | 'leaving';
  ready: boolean;
  /** Its end was asked for. */
  meant: boolean;
}

/** One that dies within this time counts as another failure in a row, and the next one waits longer. */
const STABLE_MS = 10_000;
/** A thread that has not ended this long after it was told to is inside a native call. */
const KILL_MS = 1_500;

export class Crew implements ExecutorCrew {
  readonly #options: CrewOptions;
  /** By number. At most `count` that work, one spare, and those that retire or have just been ended: see `#places`. */
  readonly #posts = new Map<number, Post>();
  #nextNumber = 0;
  #count: number;
  /** Deaths in a row that were not meant. */
  #failures = 0;
  /** Runs while nobody is started, because the last ones died. */
  #pause: NodeJS.Timeout | null = null;
  #engine: Engine | null = null;
  #stopping = false;
  #failStart: ((error: Error) => void) | null = null;

  constructor(options: CrewOptions) {
    this.#options = options;
    this.#count = options.count;
    while (this.#posts.size < options.count) this.#enlist('working');
  }

  get ends(): readonly EngineEnd[] {
    return [...this.#posts.values()].map(({ member }) => member.end);
  }

  /** Starts the engine on this crew; a member that dies before it was ready fails the start. */
  async start(engine: Engine): Promise<void> {
    this.#engine = engine;
    const failed = new Promise<never>((_, reject) => {
      this.#failStart = reject;
    });
    try {
      await Promise.race([engine.start(), failed]);
      this.#failStart = null;
      this.#fill();
    } catch (error) {
      this.stopping();
      await engine.stop(0).catch(() => {});
      await this.close();
      throw error;
    }
  }

  ready(executor: number): boolean {
    const post = this.#posts.get(executor);
    if (!post) return false;
    post.ready = true;
    return post.role === 'working';
  }

  retiring(executor: number): void {
    const post = this.#posts.get(executor);
    if (!post) return;
    post.role = 'retiring';
    this.#fill();
  }

  /** Who has not started yet is ended; of the others the engine says who leaves. */
  resize(count: number): void {
    this.#count = count;
    let tooMany = this.#countOf('working') - count;
    for (const post of this.#posts.values()) {
      if (tooMany <= 0) break;
      if (post.role !== 'working' || post.ready) continue;
      post.role = 'leaving';
      post.meant = true;
      post.member.kill();
      tooMany -= 1;
    }
    this.#fill();
  }

  leaving(executor: number): void {
    const post = this.#posts.get(executor);
    if (post) post.role = 'leaving';
  }

  dismiss(executor: number): void {
    const post = this.#posts.get(executor);
    if (!post) return;
    post.meant = true;
    post.member.dismiss();
  }

  /** Ends one executor by force; another takes its place. `stuck`: it cannot be ended, only the process can. */
  async end(executor: number): Promise<'ended' | 'stuck'> {
    const post = this.#posts.get(executor);
    if (!post) return 'ended';
    post.meant = true;
    post.member.kill();
    return this.#gone(post);
  }

  /** From now on nobody is replaced. */
  stopping(): void {
    this.#stopping = true;
    if (this.#pause !== null) clearTimeout(this.#pause);
    this.#pause = null;
  }

  /** Ends all; false when one is inside a native call and will not end. */
  async close(): Promise<boolean> {
    this.stopping();
    const ends = [...this.#posts.keys()].map((executor) => {
      const post = this.#posts.get(executor) as Post;
      this.dismiss(executor);
      return this.#gone(post);
    });
    return (await Promise.all(ends)).every((end) => end === 'ended');
  }

  async #gone({ member }: Post): Promise<'ended' | 'stuck'> {
    return Promise.race([member.gone.then(() => 'ended' as const), sleep(KILL_MS).then(() => 'stuck' as const)]);
  }

  #countOf(role: Post['role']): number {
    let count = 0;
    for (const post of this.#posts.values()) if (post.role === role) count += 1;
    return count;
  }

  /** How many may work now: those that retire leave their places at once, until they are as many as the crew is meant to be. */
  #places(): number {
    return this.#count - Math.max(0, this.#countOf('retiring') - this.#count);
  }

  /** Fills every place, and the spare's. */
  #fill(): void {
    if (this.#stopping || this.#engine === null || this.#failStart !== null) return;
    while (this.#countOf('working') < this.#places()) {
      const [number, spare] = [...this.#posts].find(([, { role }]) => role === 'spare') ?? [];
      if (number !== undefined && spare) {
        spare.role = 'working';
        if (spare.ready) this.#engine.openExecutor(number);
      } else if (this.#pause === null) this.#enlist('working');
      else return;
    }
    if (this.#options.spare && this.#pause === null && this.#countOf('spare') === 0) this.#enlist('spare');
  }

  #enlist(role: Post['role']): void {
    const executor = this.#nextNumber++;
    let member: Member;
    try {
      member = this.#options.spawn(executor);
    } catch (error) {
      // No memory or no process to be had at this moment: the worker goes on with those that it has.
      if (this.#engine === null) throw error;
      this.#options.logger.error({ executor, reason: toError(error).message }, 'an executor could not be started; trying again');
      this.#failures += 1;
      this.#rest();
      return;
    }
    const post: Post = { member, role, startedMs: performance.now(), ready: false, meant: false };
    this.#posts.set(executor, post);
    this.#engine?.addExecutor(executor, member.end);
    void member.gone.then((reason) => this.#onGone(executor, post, reason));
  }

  #onGone(executor: number, post: Post, reason: string): void {
    const { logger } = this.#options;
    this.#posts.delete(executor);
    this.#engine?.executorDied(executor, reason);
    // The first tasks run before the start is over, and one of them may have taken it: that is no failure of the start.
    if (!this.#engine || (this.#failStart && !post.ready)) {
      this.#failStart?.(new TaskError('E_EXECUTOR_START', `an executor died before it was ready: ${reason}`));
      return;
    }
    if (!post.meant) logger.error({ executor, reason }, this.#stopping ? 'executor died' : 'executor died; starting another');
    const stable = post.ready && performance.now() - post.startedMs > STABLE_MS;
    // One that said itself that it cannot start was ended on purpose, and has failed.
    if (post.role !== 'leaving' && (!post.ready || (!post.meant && !stable))) {
      this.#failures += 1;
      this.#rest();
    } else if (!post.meant) this.#failures = 0;
    this.#fill();
  }

  /** Nobody is started for a while; the spare steps in all the same. */
  #rest(): void {
    if (this.#stopping) return;
    if (this.#pause !== null) clearTimeout(this.#pause);
    this.#pause = setTimeout(
      () => {
        this.#pause = null;
        this.#fill();
      },
      reconnectDelayMs(this.#failures, Math.random()),
    );
    this.#pause.unref();
  }
}

/** A pool whose executors are members of a crew: the engine on this thread over all of them, and one end for both. */
export async function startCrew(setup: PoolSetup, spare: boolean, spawn: CrewOptions['spawn']): Promise<RunningPool> {
  const { options, logger } = setup;
  const crew = new Crew({ count: options.executors, spare, spawn, logger });
  const engine = new Engine(options.engine, crew.ends, logger, { host: crew, crew, onStuck: setup.onFatal });
  await crew.start(engine);
  return {
    async stop(graceMs) {
      crew.stopping();
      const report = await engine.stop(graceMs);
      return { ...report, stuck: !(await crew.close()) };
    },
    stats: async () => engine.stats(),
    report: async () => engine.report(),
    askedToStop: engine.askedToStop,
  };
}
