/** All drills, by name; each is loaded when it is run. A new drill is a file here and a row in this table. */
import type { Drill } from './harness/runner.js';

export const DRILLS: Readonly<Record<string, () => Promise<{ readonly drill: Drill }>>> = {
  'midnight-restart': () => import('./midnight-restart.js'),
  'unserialisable-error': () => import('./unserialisable-error.js'),
  'two-beats': () => import('./two-beats.js'),
  'idle-fleet': () => import('./idle-fleet.js'),
  'simple-arguments': () => import('./simple-arguments.js'),
  'wait-inside-task': () => import('./wait-inside-task.js'),
  'endless-retry': () => import('./endless-retry.js'),
  'time-limits': () => import('./time-limits.js'),
  starvation: () => import('./starvation.js'),
  'kill-nine': () => import('./kill-nine.js'),
  'frozen-worker': () => import('./frozen-worker.js'),
  'broker-outage': () => import('./broker-outage.js'),
  'rolling-deploy': () => import('./rolling-deploy.js'),
  'exit-codes': () => import('./exit-codes.js'),
  'health-checks': () => import('./health-checks.js'),
  'far-future': () => import('./far-future.js'),
  'mixed-fleet': () => import('./mixed-fleet.js'),
};
