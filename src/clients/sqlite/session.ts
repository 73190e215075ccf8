/**
 * A driver's use of the embedded file. Broker and results of one file share a backend (by path and role, within a
 * process), so that their writes of one turn share a commit. Opens at the first use; owns opening again after a writer
 * thread died. Next stop: `backend.ts`.
 */
import { BrokerError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { type Backend, openLocalBackend } from './backend.js';
import { Doorbell } from './doorbell.js';
import { type FileLocation, parseFileUrl } from './location.js';
import type { CallOptions, OperationModule } from './operations.js';
import { openThreadBackend } from './thread-backend.js';

export interface SessionOptions {
  readonly url: string;
  readonly logger: Logger;
  /** `engine`: in the caller's loop. `client`: in a thread. */
  readonly role: 'engine' | 'client';
}

const OPEN_TIMEOUT_MS = 5_000;

/** What sessions of one file and role share in this process. */
interface Shared {
  users: number;
  backend: Promise<Backend> | null;
  /** That backend once it is open. */
  live: Backend | null;
  readonly added: Map<string, Promise<void>>;
}

const SHARED = new Map<string, Shared>();

/** One driver's session. */
export class FileSession {
  readonly location: FileLocation;
  readonly bell: Doorbell;
  readonly #options: SessionOptions;
  readonly #module: OperationModule;
  readonly #key: string;
  readonly #shared: Shared;
  readonly #opening = new Set<Promise<Backend>>();
  #backend: Backend | null = null;
  #closed = false;

  /** Touches nothing. @throws ConfigError for a malformed URL */
  constructor(options: SessionOptions, module: OperationModule) {
    this.location = parseFileUrl(options.url);
    this.#options = options;
    this.#module = module;
    this.bell = new Doorbell(this.location.path, options.logger);
    const { path, sync, maxBytes, trusted } = this.location;
    this.#key = JSON.stringify([options.role, path, sync, maxBytes, trusted]);
    let shared = SHARED.get(this.#key);
    if (!shared) {
      shared = { users: 0, backend: null, live: null, added: new Map() };
      SHARED.set(this.#key, shared);
    }
    shared.users += 1;
    this.#shared = shared;
  }

  /** Opens the file now. @throws ConfigError, BrokerError as `openDatabase`, `E_CLOSED` */
  async open(timeoutMs: number = OPEN_TIMEOUT_MS): Promise<void> {
    await this.#ready(timeoutMs);
  }

  /** Runs one of the driver's operations, opening the file at the first. Rejects with a BrokerError. */
  call<Value>(name: string, argument: unknown, options: CallOptions): Promise<Value> {
    const operation = `${this.#module.name}.${name}`;
    // the one that this session has added its operations to, and that has not died since
    if (this.#backend && this.#backend === this.#shared.live)
      return this.#backend.call(operation, argument, options) as Promise<Value>;
    const ready = this.#ready(OPEN_TIMEOUT_MS);
    this.#opening.add(ready);
    const forget = (): void => void this.#opening.delete(ready);
    ready.then(forget, forget);
    return ready.then((backend) => backend.call(operation, argument, options)) as Promise<Value>;
  }

  /** Runs what was asked, then closes the file if this was its last user here. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#backend = null;
    // calls that came while the file was still being opened are on their way into it once these have settled
    await Promise.allSettled(this.#opening);
    this.bell.close();
    this.#shared.users -= 1;
    if (this.#shared.users > 0) return;
    SHARED.delete(this.#key);
    const backend = await this.#shared.backend?.catch(() => null);
    await backend?.close();
  }

  async #ready(timeoutMs: number): Promise<Backend> {
    if (this.#closed) throw new BrokerError('E_CLOSED', `${this.location.path} was used after close()`);
    const shared = this.#shared;
    shared.backend ??= this.#openBackend(timeoutMs);
    const backend = await shared.backend;
    let added = shared.added.get(this.#module.name);
    if (!added) {
      added = backend.add(this.#module);
      shared.added.set(this.#module.name, added);
      added.catch(() => shared.added.delete(this.#module.name));
    }
    await added;
    if (!this.#closed) this.#backend = backend;
    return backend;
  }

  #openBackend(timeoutMs: number): Promise<Backend> {
    const shared = this.#shared;
    const forget = (): void => {
      shared.backend = null;
      shared.live = null;
      shared.added.clear();
    };
    const open = this.#options.role === 'engine' ? openLocalBackend : openThreadBackend;
    const backend = open({ location: this.location, logger: this.#options.logger, timeoutMs, onGone: forget });
    // the next use tries again
    backend.then((opened) => {
      shared.live = opened;
    }, forget);
    return backend;
  }
}
