/**
 * Loaded into a process before everything else (`--import`, see `memory.ts`), and by Node into each of its threads: every few
 * seconds it collects the garbage and appends one line with what is left there. JavaScript, for Node loads it without help.
 *
 * Collecting first is the point: between two collections a heap holds what V8 has not got round to, which says nothing.
 */
import { appendFileSync } from 'node:fs';
import { threadId } from 'node:worker_threads';

const { searchParams } = new URL(import.meta.url);
const file = searchParams.get('file');

setInterval(
  () => {
    globalThis.gc();
    const { heapUsed, external } = process.memoryUsage();
    const resources = process.getActiveResourcesInfo().length;
    // One write, so that lines of several threads do not mix.
    const values = [Date.now(), heapUsed + external, resources, process.memoryUsage.rss()];
    appendFileSync(file, `${process.pid}:${threadId} ${values.join(' ')}\n`);
  },
  Number(searchParams.get('everyMs')),
).unref();
