/**
 * The writer thread: owns the database of a client, so that the client's loop never waits for a disk. Runs the same
 * group commit as an engine does; the operations are loaded from the modules that the client names, because this layer
 * does not know the drivers above it. Started by `thread-backend.ts` only.
 */
import { parentPort } from 'node:worker_threads';
import { codeOf, toError } from '../../core/errors.js';
import { type Logger, silentLogger } from '../../core/logger.js';
import { type Database, openDatabase } from './database.js';
import { Doorbell } from './doorbell.js';
import { GroupCommit } from './group-commit.js';
import type { PrepareOperations } from './operations.js';
import type { FromThread, ThreadAnswer, ThreadError, ToThread } from './thread-messages.js';

const port = parentPort;
if (!port) throw new Error('thread-entry is the inside of a worker thread: it is not meant to be imported');

let database: Database | undefined;
let bell: Doorbell | undefined;
let group: GroupCommit | undefined;
let answers: ThreadAnswer[] = [];

const post = (message: FromThread): void => port.postMessage(message);

const logger: Logger = {
  ...silentLogger,
  warn: (fields, message) =>
    post({ type: 'warn', fields: { ...fields, err: String((fields as { err?: unknown }).err) }, message: message ?? '' }),
};

/** The answers of one transaction leave in one message. */
function answer(value: ThreadAnswer): void {
  if (answers.length === 0) {
    queueMicrotask(() => {
      const ready = answers;
      answers = [];
      post({ type: 'answers', answers: ready });
    });
  }
  answers.push(value);
}

function asThreadError(thrown: unknown): ThreadError {
  const error = toError(thrown);
  return { code: codeOf(error) ?? 'E_INTERNAL', message: error.message, stack: error.stack };
}

async function open(message: Extract<ToThread, { readonly type: 'open' }>): Promise<void> {
  try {
    database = await openDatabase(message.location, message.timeoutMs);
    bell = new Doorbell(database.path, logger);
    bell.prepare();
    group = new GroupCommit(database, bell);
    post({ type: 'opened' });
  } catch (error) {
    post({ type: 'broken', error: asThreadError(error) });
  }
}

async function add(message: Extract<ToThread, { readonly type: 'add' }>): Promise<void> {
  try {
    const module = (await import(message.href)) as { readonly prepareOperations: PrepareOperations };
    group?.add({ name: message.name, prepareOperations: module.prepareOperations });
    answer([message.number, null]);
  } catch (error) {
    answer([message.number, undefined, asThreadError(error)]);
  }
}

port.on('message', (message: ToThread) => {
  switch (message.type) {
    case 'open':
      void open(message);
      return;
    case 'add':
      void add(message);
      return;
    case 'calls':
      for (const [number, name, argument, options] of message.calls) {
        group?.enqueue(
          name,
          argument,
          options,
          (value) => answer([number, value]),
          (error) => answer([number, undefined, asThreadError(error)]),
        );
      }
      return;
    case 'close':
      group?.close();
      database?.close();
      bell?.close();
      // behind the answers of what close() still ran
      queueMicrotask(() => {
        post({ type: 'closed' });
        port.close();
      });
  }
});
