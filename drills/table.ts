/** All drills, by name; each is loaded when it is run. A new drill is a file here and a row in this table. */
import type { Drill } from './harness/runner.js';

export const DRILLS: Readonly<Record<string, () => Promise<{ readonly drill: Drill }>>> = {
  'time-limits': () => import('./time-limits.js'),
  'kill-nine': () => import('./kill-nine.js'),
  'rolling-deploy': () => import('./rolling-deploy.js'),
};
