/**
 * Wakes other processes that wait for the file, without polling. A folder beside the database holds one bell file for
 * each kind of news, watched by those who wait, and `sleepers`, one byte a kind: 1 if somebody may be waiting.
 *
 * Who wants to sleep sets the byte, looks once more, then sleeps. Who has news commits, and if the byte is set clears it
 * *and then* rings. Whoever had set it before it was cleared hears that bell, looks, and sets it again before sleeping:
 * so no news is slept through, nobody rings when nobody sleeps, and a dead sleeper costs one ring. If a ringer is killed
 * between the two steps, the re-check that every sleeper makes after 30 s finds the news.
 */
import { closeSync, existsSync, type FSWatcher, fstatSync, mkdirSync, openSync, readSync, watch, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from '../../core/logger.js';
import type { BellKind } from './operations.js';

const POSITION: Readonly<Record<BellKind, number>> = { messages: 0, results: 1, broadcasts: 2, replies: 3 };
const ASLEEP = Buffer.from([1]);
const AWAKE = Buffer.from([0]);
/** Every sleeper looks again after this, whatever it hears. */
const RECHECK_MS = 30_000;
/** Used only where watching files does not work at all (no inotify watches left, for example). */
const FALLBACK_POLL_MS = 500;

interface Watched {
  readonly listeners: Set<() => void>;
  stop(): void;
}

export class Doorbell {
  readonly #folder: string;
  readonly #logger: Logger;
  readonly #watched = new Map<BellKind, Watched>();
  readonly #bells = new Map<BellKind, number>();
  readonly #byte = Buffer.alloc(1);
  #sleepers: number | null = null;

  /** @param path of the database; nothing is touched before the first use */
  constructor(path: string, logger: Logger) {
    this.#folder = `${path}-bell`;
    this.#logger = logger;
  }

  /** Makes the files now: on a disk that is full later, bytes that exist can still be changed. Never throws. */
  prepare(): void {
    try {
      this.#sleepersFile();
      for (const kind of Object.keys(POSITION) as BellKind[]) this.#bellFile(kind);
    } catch (error) {
      this.#logger.warn({ err: error, folder: this.#folder }, 'the files that wake waiting processes cannot be made');
    }
  }

  /**
   * Says that somebody here is about to sleep, and for how long at most. Look once more after this. Where the bell cannot
   * be armed (a full disk), the sleep is short instead.
   */
  arm(kind: BellKind): number {
    try {
      writeSync(this.#sleepersFile(), ASLEEP, 0, 1, POSITION[kind]);
      return RECHECK_MS;
    } catch (error) {
      this.#logger.warn(
        { err: error, folder: this.#folder },
        `the bell cannot be armed; looking every ${FALLBACK_POLL_MS} ms instead`,
      );
      return FALLBACK_POLL_MS;
    }
  }

  /** Wakes those who sleep, if any do. Never throws: they look again by themselves. */
  ring(kind: BellKind): void {
    try {
      const sleepers = this.#sleepersFile();
      if (readSync(sleepers, this.#byte, 0, 1, POSITION[kind]) === 0 || this.#byte[0] === 0) return;
      writeSync(sleepers, AWAKE, 0, 1, POSITION[kind]);
      writeSync(this.#bellFile(kind), ASLEEP, 0, 1, 0);
    } catch (error) {
      this.#logger.warn(
        { err: error, folder: this.#folder },
        'cannot ring for waiting processes; they look by themselves every 30 s',
      );
    }
  }

  /** Calls back after each ring; the returned function ends it. */
  listen(kind: BellKind, onRing: () => void): () => void {
    let watched = this.#watched.get(kind);
    if (!watched) {
      watched = this.#watch(kind);
      this.#watched.set(kind, watched);
    }
    const { listeners, stop } = watched;
    listeners.add(onRing);
    return () => {
      listeners.delete(onRing);
      if (listeners.size > 0 || this.#watched.get(kind)?.listeners !== listeners) return;
      this.#watched.delete(kind);
      stop();
    };
  }

  close(): void {
    for (const { stop } of this.#watched.values()) stop();
    this.#watched.clear();
    for (const file of this.#bells.values()) closeSync(file);
    this.#bells.clear();
    if (this.#sleepers !== null) closeSync(this.#sleepers);
    this.#sleepers = null;
  }

  #watch(kind: BellKind): Watched {
    this.#bellFile(kind);
    const listeners = new Set<() => void>();
    const tell = (): void => {
      for (const listener of [...listeners]) listener();
    };
    const path = join(this.#folder, kind);
    let watcher: FSWatcher | undefined;
    let poll: NodeJS.Timeout | undefined;
    const fallBack = (error: unknown): void => {
      if (poll) return;
      this.#logger.warn({ err: error, path }, `files cannot be watched here; looking every ${FALLBACK_POLL_MS} ms instead`);
      poll = setInterval(tell, FALLBACK_POLL_MS);
      poll.unref();
    };
    try {
      watcher = watch(path, { persistent: false }, tell);
      watcher.on('error', fallBack);
    } catch (error) {
      fallBack(error);
    }
    return {
      listeners,
      stop() {
        watcher?.close();
        clearInterval(poll);
      },
    };
  }

  #sleepersFile(): number {
    this.#sleepers ??= this.#open('sleepers');
    return this.#sleepers;
  }

  #bellFile(kind: BellKind): number {
    let file = this.#bells.get(kind);
    if (file === undefined) {
      file = this.#open(kind);
      this.#bells.set(kind, file);
    }
    return file;
  }

  /** Opens for writing in place; `r+` does not make files and `w+` would empty them. */
  #open(name: string): number {
    try {
      // not `recursive`: the database's folder exists, and Node's recursion never returns in some places (/proc)
      mkdirSync(this.#folder);
    } catch (error) {
      if (!existsSync(this.#folder)) throw error;
    }
    const path = join(this.#folder, name);
    closeSync(openSync(path, 'a'));
    const file = openSync(path, 'r+');
    if (fstatSync(file).size === 0) writeSync(file, Buffer.alloc(4), 0, 4, 0);
    return file;
  }
}
