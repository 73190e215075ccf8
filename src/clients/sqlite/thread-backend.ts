/**
 * The client's side of the writer thread: numbers the calls, sends those of one turn together, and matches the answers.
 * The thread keeps the process alive only while something is asked of it.
 */
import { Worker } from 'node:worker_threads';
import type { ErrorCode } from '../../core/error-codes.js';
import { BrokerError, ConfigError, type LovageError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { Backend, BackendOptions } from './backend.js';
import type { CallOptions, OperationModule } from './operations.js';
import type { FromThread, ThreadAnswer, ThreadCall, ThreadError, ToThread } from './thread-messages.js';

interface Asked {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/**
 * The built file that a thread can run. Threads know no TypeScript on Node 20, so from source (the project's own tests)
 * the one in `dist` is used: build first.
 */
export function builtHref(href: string): string {
  return href.endsWith('.ts') ? href.replace('/src/', '/dist/').replace(/\.ts$/, '.js') : href;
}

function toLovageError({ code, message, stack }: ThreadError): LovageError {
  const error =
    code.startsWith('E_CONFIG') || code === 'E_DRIVER_MISSING'
      ? new ConfigError(code as ErrorCode, message)
      : new BrokerError(code as ErrorCode, message);
  if (stack !== undefined) error.stack = stack;
  return error;
}

class ThreadBackend implements Backend {
  readonly #worker: Worker;
  readonly #path: string;
  readonly #logger: Logger;
  readonly #onGone: () => void;
  readonly #asked = new Map<number, Asked>();
  readonly #opened: Promise<void>;
  #settleOpened: Asked = { resolve: () => {}, reject: () => {} };
  #closed: (() => void) | null = null;
  #gone = false;
  #outbox: ThreadCall[] = [];
  #number = 0;

  constructor(options: BackendOptions) {
    this.#path = options.location.path;
    this.#logger = options.logger;
    this.#onGone = options.onGone;
    this.#opened = new Promise((resolve, reject) => {
      this.#settleOpened = { resolve: () => resolve(), reject };
    });
    // execArgv: loaders of the user's TypeScript are none of this thread's business, and slow its start
    this.#worker = new Worker(
      new URL(
        builtHref(new URL(import.meta.url.endsWith('.ts') ? './thread-entry.ts' : './thread-entry.js', import.meta.url).href),
      ),
      {
        name: 'lovage-file-writer',
        execArgv: [],
      },
    );
    this.#worker.on('message', (message: FromThread) => this.#hear(message));
    this.#worker.on('error', (error) =>
      this.#end(
        new BrokerError('E_CONNECTION_LOST', `the writer thread of ${this.#path} died: ${error.message}`, { cause: error }),
      ),
    );
    this.#worker.on('exit', () => this.#end(new BrokerError('E_CONNECTION_LOST', `the writer thread of ${this.#path} ended`)));
    this.#post({ type: 'open', location: options.location, timeoutMs: options.timeoutMs });
  }

  opened(): Promise<void> {
    return this.#opened;
  }

  add(module: OperationModule): Promise<void> {
    return this.#ask((number) => this.#post({ type: 'add', number, name: module.name, href: builtHref(module.href) })).then(
      () => undefined,
    );
  }

  call(name: string, argument: unknown, options: CallOptions): Promise<unknown> {
    return this.#ask((number) => {
      if (this.#outbox.length === 0) {
        setImmediate(() => {
          const calls = this.#outbox;
          this.#outbox = [];
          if (!this.#gone) this.#post({ type: 'calls', calls });
        });
      }
      this.#outbox.push([number, name, argument, options]);
    });
  }

  async close(): Promise<void> {
    if (this.#gone) return;
    const closed = new Promise<void>((resolve) => {
      this.#closed = resolve;
    });
    // behind the calls of this turn
    setImmediate(() => this.#post({ type: 'close' }));
    this.#worker.ref();
    await closed;
  }

  #ask(send: (number: number) => void): Promise<unknown> {
    if (this.#gone) return Promise.reject(new BrokerError('E_CONNECTION_LOST', `the writer thread of ${this.#path} ended`));
    return new Promise((resolve, reject) => {
      this.#number += 1;
      if (this.#asked.size === 0) this.#worker.ref();
      this.#asked.set(this.#number, { resolve, reject });
      send(this.#number);
    });
  }

  #hear(message: FromThread): void {
    switch (message.type) {
      case 'opened':
        this.#settleOpened.resolve(undefined);
        this.#restIfIdle();
        return;
      case 'broken':
        this.#settleOpened.reject(toLovageError(message.error));
        void this.#worker.terminate();
        return;
      case 'answers':
        for (const answer of message.answers) this.#settle(answer);
        this.#restIfIdle();
        return;
      case 'warn':
        this.#logger.warn(message.fields, message.message);
        return;
      case 'closed':
        // the exit event follows
        return;
    }
  }

  #settle([number, value, error]: ThreadAnswer): void {
    const asked = this.#asked.get(number);
    this.#asked.delete(number);
    if (error) asked?.reject(toLovageError(error));
    else asked?.resolve(value);
  }

  #restIfIdle(): void {
    if (this.#asked.size === 0 && !this.#closed) this.#worker.unref();
  }

  #end(error: BrokerError): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#settleOpened.reject(error);
    for (const { reject } of this.#asked.values()) reject(error);
    this.#asked.clear();
    if (this.#closed) this.#closed();
    else this.#onGone();
  }

  #post(message: ToThread): void {
    this.#worker.postMessage(message);
  }
}

/** Starts a writer thread and opens the database in it. @throws as `openDatabase` */
export async function openThreadBackend(options: BackendOptions): Promise<Backend> {
  const backend = new ThreadBackend(options);
  await backend.opened();
  return backend;
}
