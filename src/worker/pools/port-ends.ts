/** Port ends over what Node offers: a MessagePort (or Worker), and a pair of plain functions on one loop. */
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
