/** How long `lovage beat` takes from its start, as a process, to the first message that it has sent, with so many entries in its store. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { createApp } from 'lovage';
import { addEntries, type NewEntry } from '../src/beat/entries.js';
import { openBeatStore } from '../src/beat/from-url.js';
import type { ScheduleOptions } from '../src/beat/schedules/index.js';
import { silentLogger } from '../src/core/logger.js';
import type { Env } from './measure.js';

const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url));
const ZONES = ['Europe/Berlin', 'America/New_York', 'UTC'] as const;
const PATIENCE_MS = 60_000;

/** Half crontabs in three zones, half intervals; none is due today. */
function timesOf(index: number): ScheduleOptions {
  if (index % 2 === 0) return { every: `${25 + (index % 100)}h` };
  return { cron: `${index % 60} ${index % 24} 29 2 *`, timezone: ZONES[index % ZONES.length] as string };
}

/** Fills the store of the bench app: so many entries, of which one is due. */
async function fill(url: string, entries: number): Promise<void> {
  const app = createApp({ name: 'bench', broker: 'memory:' });
  const signature = app
    .fn('bench.noop', (_x: number): null => null)
    .si(1)
    .toJSON() as NewEntry['signature'];
  const store = await openBeatStore({ url, app: 'bench', logger: silentLogger, brokerUrl: url });
  try {
    await store.connect({ timeoutMs: 5_000 });
    const nowMs = Date.now();
    const waiting = Array.from({ length: entries - 1 }, (_, index) => ({ id: `e${index}`, options: timesOf(index), signature }));
    const due: ScheduleOptions = { at: new Date(nowMs - 60_000), catchUp: 'last' };
    await addEntries(store, [...waiting, { id: 'due', options: due, signature, sinceMs: nowMs - 120_000 }], nowMs);
  } finally {
    await store.close();
    await app.close();
  }
}

/** Resolves with the time of its line about the first message. */
async function firstSent(child: ChildProcess): Promise<number> {
  const lines: string[] = [];
  const timer = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS);
  try {
    for await (const line of createInterface({ input: child.stderr as NodeJS.ReadableStream })) {
      lines.push(line);
      if (line.includes('"beat: sent"')) return performance.now();
    }
    throw new Error(`no message was sent:\n${lines.slice(-20).join('\n')}`);
  } finally {
    clearTimeout(timer);
  }
}

/** Milliseconds. */
export async function beatStartMs(env: Env, entries: number): Promise<number> {
  await fill(env['LOVAGE_BENCH_BROKER'] as string, entries);
  const args = [here('../dist/cli/main.js'), 'beat', '--app', here('./idle-app.js'), '--log-format', 'json'];
  const startedMs = performance.now();
  const child = spawn(process.execPath, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  try {
    return (await firstSent(child)) - startedMs;
  } finally {
    child.kill('SIGTERM');
    await ended;
  }
}
