/**
 * A thread of an executor process that sees the parent die, however it died: a pipe from the parent ends with it. The main
 * thread sees that too and exits; if a task keeps it from that, this ends the process, and what the task has started with it.
 */
import { Socket } from 'node:net';

/** The pipe's number, as the pool has laid it (`pools/processes.ts`). */
const LIFELINE_FD = 4;
/** What the main thread may take to exit by itself. */
const EXIT_MS = 500;

const lifeline = new Socket({ fd: LIFELINE_FD, readable: true });
lifeline.on('error', () => {});
lifeline.once('close', () => {
  setTimeout(() => {
    // The child leads a group of its own; where there are no groups it goes alone.
    try {
      process.kill(-process.pid, 'SIGKILL');
    } catch {
      process.kill(process.pid, 'SIGKILL');
    }
  }, EXIT_MS);
});
lifeline.resume();
