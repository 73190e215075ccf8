/**
 * The heartbeat file, for probes that can only run a command: written anew while the engine's loop turns, so that its age says
 * whether the worker lives and its first word whether it is ready. Removed when the worker ends; one that was killed leaves it to age.
 */
import { rename, rm, writeFile } from 'node:fs/promises';
import { ConfigError, toError } from '../../../core/errors.js';
import type { Logger } from '../../../core/logger.js';

/** How old the file of a healthy worker gets at most, a second or so more when the disk is slow. */
const HEARTBEAT_MS = 5_000;

export class HeartbeatFile {
  readonly #path: string;
  readonly #logger: Logger;
  #writtenMs = Number.NEGATIVE_INFINITY;
  /** The write under way: at most one at a time, whatever the disk does. */
  #writing: Promise<void> | null = null;
  #failing = false;
  #closed = false;

  constructor(path: string, logger: Logger) {
    this.#path = path;
    this.#logger = logger;
  }

  /** The first heartbeat. @throws ConfigError `E_HEALTH` when it cannot be written */
  async open(text: string): Promise<void> {
    try {
      await this.#write(text);
    } catch (error) {
      throw new ConfigError('E_HEALTH', `the heartbeat file ${this.#path} cannot be written: ${toError(error).message}`, {
        cause: error,
      });
    }
  }

  /** Another heartbeat, if one is due. A disk that fails is told once; probes see the file age. */
  beat(text: () => string): void {
    if (this.#closed || this.#writing || performance.now() - this.#writtenMs < HEARTBEAT_MS - 50) return;
    this.#writing = this.#write(text())
      .then(
        () => {
          this.#failing = false;
        },
        (error: unknown) => {
          if (!this.#failing)
            this.#logger.warn({ file: this.#path, error: toError(error).message }, 'the heartbeat file cannot be written');
          this.#failing = true;
        },
      )
      .finally(() => {
        this.#writing = null;
      });
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#writing;
    await rm(this.#path, { force: true }).catch(() => {});
  }

  /** Under another name first: a probe must never read half of it. */
  async #write(text: string): Promise<void> {
    this.#writtenMs = performance.now();
    const half = `${this.#path}.${process.pid}`;
    await writeFile(half, text);
    await rename(half, this.#path);
  }
}
