/**
 * Loaded into a process before everything else (`--import`, see `clock.ts`), and by Node into each of its threads: its wall clock shows
 * as many milliseconds more than the machine's as a file says. Its monotonic clock is left alone, as by a real set clock. JavaScript,
 * for Node loads it without help.
 */
import { readFileSync } from 'node:fs';

const file = new URL(import.meta.url).searchParams.get('file');
/** How old a look at the file may be. */
const LOOK_MS = 10;

const machineMs = Date.now.bind(Date);
let lookedMs = Number.NEGATIVE_INFINITY;
let aheadMs = 0;

Date.now = () => {
  const now = performance.now();
  if (now - lookedMs > LOOK_MS) {
    lookedMs = now;
    aheadMs = Number(readFileSync(file, 'utf8'));
  }
  return machineMs() + aheadMs;
};
globalThis.Date = new Proxy(Date, {
  construct: (target, args, newTarget) => Reflect.construct(target, args.length === 0 ? [target.now()] : args, newTarget),
});
