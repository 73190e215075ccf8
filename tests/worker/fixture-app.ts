/** The app of the worker tests; loaded by executor threads and by the test itself. */
import { execSync } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { threadId } from 'node:worker_threads';
import { createApp, Ignore, NonRetryableError, Reject, taskContext } from 'lovage';

const broker = process.env.LOVAGE_TEST_BROKER;
const ledger = process.env.LOVAGE_TEST_LEDGER;
/** While this file is there, no executor can start. */
const refusal = ledger && `${ledger}.refusal`;

export const app = createApp({ name: 'fixture', maxMessageSize: 12_000_000, ...(broker ? { broker } : {}) });

/** What happened, outside of anything that Lovage stores. */
export function note(line: string): void {
  if (ledger) appendFileSync(ledger, `${line}\n`);
}

/** The executor, told apart from all others of the test. */
const me = `${process.pid}.${threadId}`;
const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));
app.onStart(async () => {
  await turn();
  if (refusal && existsSync(refusal)) {
    note(`refused ${me}`);
    throw new Error('the database is away');
  }
  note(`start ${me}`);
});
app.onStop(async () => {
  await turn();
  note(`stop ${me}`);
});

export const add = app.fn('t.add', (x: number, y: number) => x + y, { params: ['x', 'y'] });
export const echo = app.fn('t.echo', async (value: unknown) => value as string);
export const fail = app.fn('t.fail', (message: string): number => {
  throw new RangeError(message);
});
export const flaky = app.fn(
  't.flaky',
  (key: string, times: number): { key: string; tries: number } => {
    const { attempt } = taskContext();
    note(`flaky ${key} ${attempt}`);
    if (attempt <= times) throw new Error(`try ${attempt} of ${key}`);
    return { key, tries: attempt };
  },
  { retry: { max: 3, backoff: 'fixed', base: '20ms', jitter: 'none' } },
);
export const hopeless = app.fn(
  't.hopeless',
  (): number => {
    throw new NonRetryableError('no use');
  },
  { retry: true },
);
export const later = app.fn('t.later', (): number => {
  const context = taskContext();
  if (context.attempt === 1) throw context.retry({ in: '100ms', because: new Error('not now') });
  return context.attempt;
});
export const about = app.fn('t.about', (): Record<string, string | number | boolean | null> => {
  const { id, name, queue, attempt, maxAttempts, rootId, parentId, redelivered } = taskContext();
  return { id, name, queue, attempt, maxAttempts, rootId, parentId, redelivered };
});
export const parent = app.fn('t.parent', async (): Promise<string> => (await about.send()).id);
export const waiter = app.fn('t.waiter', async (): Promise<number> => {
  const handle = await add.send(1, 1);
  return handle.result({ timeout: '5s' });
});
export const progress = app.fn('t.progress', async (n: number): Promise<number> => {
  const context = taskContext();
  for (let current = 1; current <= n; current++) {
    context.progress(current, n);
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  return n;
});
export const spin = app.fn('t.spin', (ms: number): number => {
  note(`spin ${taskContext().id}`);
  const end = performance.now() + ms;
  while (performance.now() < end);
  return ms;
});
export const ran = app.fn('t.ran', (key: string): string => {
  note(`ran ${key}`);
  return key;
});
export const untilAborted = app.fn(
  't.untilAborted',
  async (key: string): Promise<string> => {
    const { signal } = taskContext();
    note(`began ${key}`);
    await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }));
    return key;
  },
  { softTimeLimit: '10m' },
);
export const limited = app.fn(
  't.limited',
  async (): Promise<number> => {
    const { signal } = taskContext();
    await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }));
    return 0;
  },
  { softTimeLimit: '100ms' },
);
export const deaf = app.fn('t.deaf', (): Promise<number> => new Promise(() => {}), { timeLimit: '150ms' });
export const ignored = app.fn('t.ignored', (): number => {
  throw new Ignore();
});
export const rejected = app.fn('t.rejected', (): number => {
  throw new Reject('not mine');
});
/** Tells which executor runs it. */
export const where = app.fn('t.where', async (ms: number): Promise<string> => {
  note(`enter ${me}`);
  await new Promise((resolve) => setTimeout(resolve, ms));
  note(`leave ${me}`);
  return me;
});
/** Logs in every way. */
export const speak = app.fn('t.speak', (text: string): null => {
  const { log } = taskContext();
  const error = Object.assign(new RangeError('logged'), { code: 'E_OF_MINE' });
  log.info({ n: 1, list: [1, { a: 'b' }], at: new Date(0), big: 7n }, text);
  log.child({ part: 'x' }).warn({ err: error, useless: () => 0 }, text);
  return null;
});
/** Ends its executor in one of the ways in which code does that. */
export const die = app.fn('t.die', async (how: 'once' | 'exit' | 'throw' | 'reject' | 'memory' | 'kill'): Promise<null> => {
  note(`die ${how}`);
  if (how === 'once' && readFileSync(ledger as string, 'utf8').split('die once').length > 2) return null;
  if (how === 'once' || how === 'exit') process.exit(0);
  if (how === 'kill') process.kill(process.pid, 'SIGKILL');
  if (how === 'throw') setTimeout(() => throwNow(), 0);
  if (how === 'reject') void Promise.reject(new Error('nobody catches this'));
  if (how === 'memory') for (const kept: number[][] = []; ; ) kept.push(new Array(100_000).fill(kept.length));
  return new Promise(() => {});
});
function throwNow(): never {
  throw new Error('nobody catches this');
}
/** Keeps so much memory for ever; tells how often it has done so here, and how large the process is. */
export const leak = app.fn('t.leak', (mebibytes: number): { who: string; times: number; rss: number } => {
  if (mebibytes > 0) kept.push(Buffer.alloc(mebibytes * 2 ** 20, 1));
  return { who: me, times: kept.length, rss: process.memoryUsage.rss() };
});
const kept: Buffer[] = [];
/** Never yields. */
export const spinForEver = app.fn('t.spinForEver', (): number => {
  note(`pid ${process.pid}`);
  for (;;);
});
/** Waits for a command, in a native call. */
function shell(): number {
  note(`pid ${process.pid}`);
  execSync('echo "pid $$" >> "$LOVAGE_TEST_LEDGER"; sleep 300; true');
  return 0;
}
export const longShell = app.fn('t.longShell', shell);
export const limitedShell = app.fn('t.limitedShell', shell, { timeLimit: '500ms' });
/** Dies while its result is on its way, the first time. */
export const lastBreath = app.fn('t.lastBreath', (bytes: number): string => {
  note(`breath ${me}`);
  // the result leaves in a setImmediate; this one comes right after it
  if (readFileSync(ledger as string, 'utf8').split('breath').length === 2)
    setImmediate(() => setImmediate(() => process.kill(process.pid, 'SIGKILL')));
  return 'x'.repeat(bytes);
});
export const bulk = app.fn('t.bulk', (text: string): string => text.toUpperCase());
export const quiet = app.fn(
  't.quiet',
  (key: string): string => {
    note(`ran ${key}`);
    return key;
  },
  { ignoreResult: true },
);
export const bad = app.fn('t.bad', (): string => (() => 'a function') as unknown as string);
export const early = app.fn(
  't.early',
  (key: string): number => {
    const { attempt } = taskContext();
    note(`early ${key} ${attempt}`);
    if (attempt < 3) throw new Error('not yet');
    return attempt;
  },
  { ack: 'early', retry: { max: 3, backoff: 'fixed', base: '50ms', jitter: 'none' } },
);
