/** Port ends over what Node offers: a MessagePort (or Worker), a child's channel, and a pair of plain functions on one loop. */
import type { ChildProcess } from 'node:child_process';
import type { MessagePort, Worker } from 'node:worker_threads';
import type { EngineEnd, ExecutorEnd, FromExecutor, PortEnd, ToExecutor } from '../port.js';

/** What can carry messages between threads. */
export type ThreadChannel = MessagePort | Worker;

export function messagePortEnd<Out, In>(port: ThreadChannel): PortEnd<Out, In> {
  return {
    post: (message) => port.postMessage(message),
    onMessage: (listener) => void port.on('message', listener),
    close: () => ('close' in port ? port.close() : undefined),
  };
}

/** What a child says that is for its pool and not for the engine: why it is about to end. */
export interface LastWords {
  readonly type: 'last-words';
  readonly cause: string;
}

/** Anything else on the channel is the user's own: an app may call `process.send` for its process manager. */
function isOurs(message: unknown): message is { readonly type: unknown } {
  return typeof message === 'object' && message !== null && 'type' in message;
}

/**
 * The engine's end of a child's channel. A child that is gone is told of by its exit, so what cannot be written is dropped. What
 * waits to be written is bounded: runs by the credit, answers by the calls.
 */
export function childEnd(child: ChildProcess, onLastWords: (cause: string) => void): EngineEnd {
  return {
    post: (message) => void (child.connected && child.send(message, () => {})),
    onMessage: (listener) => {
      child.on('message', (message) => {
        if (!isOurs(message)) return;
        if (message.type === 'last-words') onLastWords((message as LastWords).cause);
        else listener(message as FromExecutor);
      });
    },
    close: () => {
      if (child.connected) child.disconnect();
    },
  };
}

/** The other end, in the child. */
export function parentChannelEnd(): ExecutorEnd {
  return {
    post: (message) => void (process.connected && process.send?.(message, undefined, undefined, () => {})),
    onMessage: (listener) => {
      process.on('message', (message) => {
        if (isOurs(message)) listener(message as ToExecutor);
      });
    },
    close: () => {
      if (process.connected) process.disconnect();
    },
  };
}

/** Both ends on one loop. Messages arrive in a later microtask, so that no end runs inside the other's call. */
export function inlinePair(): { readonly engine: EngineEnd; readonly executor: ExecutorEnd } {
  let toExecutor: (message: ToExecutor) => void = () => {};
  let toEngine: (message: FromExecutor) => void = () => {};
  return {
    engine: {
      post: (message) => queueMicrotask(() => toExecutor(message)),
      onMessage: (listener) => {
        toEngine = listener;
      },
      close: () => {},
    },
    executor: {
      post: (message) => queueMicrotask(() => toEngine(message)),
      onMessage: (listener) => {
        toExecutor = listener;
      },
      close: () => {},
    },
  };
}
