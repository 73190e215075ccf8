/** The public names of `lovage/testing`, one by one. */
export type { AnyTask } from './assertions.js';
export { createFakeClock, type FakeClock } from './fake-clock.js';
export { type DeadTask, type DrainReport, type MemoryApp, type MemoryAppOptions, memoryApp } from './memory-app.js';
export type { SentTask } from './sent-tasks.js';
