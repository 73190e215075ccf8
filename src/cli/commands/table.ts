/** The commands of `lovage`, in the order of the help. A command's file is loaded only when it is called. */
import type { Command } from 'commander';

/** Adds options, arguments, help and the action to an empty command. */
export type DefineCommand = (command: Command) => void;

export interface CommandEntry {
  readonly name: string;
  readonly summary: string;
  load(): Promise<DefineCommand>;
}

export const COMMANDS: readonly CommandEntry[] = [
  { name: 'worker', summary: 'run the tasks of an app file', load: async () => (await import('./worker.js')).defineWorker },
  { name: 'beat', summary: 'send tasks by the schedules of an app', load: async () => (await import('./beat.js')).defineBeat },
  {
    name: 'schedule',
    summary: 'list, preview, add, edit, pause, resume, run and remove schedules',
    load: async () => (await import('./schedule.js')).defineSchedule,
  },
  {
    name: 'send',
    summary: 'send a task by its name, or a file of tasks',
    load: async () => (await import('./send.js')).defineSend,
  },
  { name: 'result', summary: 'show or await the result of a task', load: async () => (await import('./result.js')).defineResult },
  {
    name: 'graph',
    summary: 'show the workflow that a task belongs to',
    load: async () => (await import('./graph.js')).defineGraph,
  },
  { name: 'revoke', summary: 'keep tasks from running', load: async () => (await import('./revoke.js')).defineRevoke },
  {
    name: 'queues',
    summary: 'list queues, find, remove and move messages, pause and resume, back up the queue file',
    load: async () => (await import('./queues.js')).defineQueues,
  },
  {
    name: 'purge',
    summary: 'remove everything that waits in queues',
    load: async () => (await import('./purge.js')).definePurge,
  },
  {
    name: 'dead',
    summary: 'list, show, replay and remove messages that could not run',
    load: async () => (await import('./dead.js')).defineDead,
  },
  {
    name: 'inspect',
    summary: 'ask running workers, in Python too: what runs, what is registered, …',
    load: async () => (await import('./inspect.js')).defineInspect,
  },
  {
    name: 'control',
    summary: 'steer running workers, in Python too: limits, pools, queues, shutdown',
    load: async () => (await import('./control.js')).defineControl,
  },
  {
    name: 'events',
    summary: 'print what happens in the cluster, one line an event',
    load: async () => (await import('./events.js')).defineEvents,
  },
  {
    name: 'top',
    summary: 'a live view of workers, rates, running tasks and queues',
    load: async () => (await import('./top.js')).defineTop,
  },
  {
    name: 'report',
    summary: 'show what a running worker knows of itself',
    load: async () => (await import('./report.js')).defineReport,
  },
  {
    name: 'completion',
    summary: 'print a completion script for your shell',
    load: async () => (await import('./completion.js')).defineCompletion,
  },
];
