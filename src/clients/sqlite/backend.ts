/**
 * Where the database lives. In an engine it is called directly in the engine's loop: no user code waits there, and a
 * hop to a thread would cost more than the commit. Next door: `thread-backend.ts`, for clients, whose loop must not wait
 * for a disk.
 */
import type { Logger } from '../../core/logger.js';
import { type Database, openDatabase } from './database.js';
import { Doorbell } from './doorbell.js';
import { GroupCommit } from './group-commit.js';
import type { FileLocation } from './location.js';
import type { CallOptions, OperationModule } from './operations.js';

export interface Backend {
  /** Makes a driver's operations callable. */
  add(module: OperationModule): Promise<void>;
  /** Runs an operation in the next transaction. Rejects with a BrokerError. */
  call(name: string, argument: unknown, options: CallOptions): Promise<unknown>;
  /** Runs what was asked already, then closes. */
  close(): Promise<void>;
}

export interface BackendOptions {
  readonly location: FileLocation;
  readonly logger: Logger;
  readonly timeoutMs: number;
  /** The backend died by itself: what is asked next should open another. */
  onGone(): void;
}

class LocalBackend implements Backend {
  readonly #database: Database;
  readonly #group: GroupCommit;
  readonly #bell: Doorbell;

  constructor(database: Database, logger: Logger) {
    this.#database = database;
    this.#bell = new Doorbell(database.path, logger);
    this.#bell.prepare();
    this.#group = new GroupCommit(database, this.#bell);
  }

  async add(module: OperationModule): Promise<void> {
    this.#group.add(module);
  }

  call(name: string, argument: unknown, options: CallOptions): Promise<unknown> {
    return this.#group.call(name, argument, options);
  }

  async close(): Promise<void> {
    this.#group.close();
    this.#database.close();
    this.#bell.close();
  }
}

/** Opens the database in this thread. @throws as `openDatabase` */
export async function openLocalBackend(options: BackendOptions): Promise<Backend> {
  return new LocalBackend(await openDatabase(options.location, options.timeoutMs), options.logger);
}
