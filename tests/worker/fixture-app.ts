/** The app of the worker tests; loaded by executor threads and by the test itself. */
import { appendFileSync } from 'node:fs';
import { threadId } from 'node:worker_threads';
import { createApp, Ignore, NonRetryableError, Reject, taskContext } from 'lovage';

const broker = process.env.LOVAGE_TEST_BROKER;
const ledger = process.env.LOVAGE_TEST_LEDGER;

export const app = createApp({ name: 'fixture', ...(broker ? { broker } : {}) });

/** What happened, outside of anything that Lovage stores. */
export function note(line: string): void {
  if (ledger) appendFileSync(ledger, `${line}\n`);
}

app.onStart(() => note(`start ${threadId}`));
app.onStop(() => note(`stop ${threadId}`));

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
export const killer = app.fn('t.killer', (): number => {
  note(`killer ${taskContext().id}`);
  process.exit(9);
});
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
export const processKiller = app.fn('t.processKiller', (): number => {
  note('process killer');
  process.kill(process.pid, 'SIGKILL');
  return 0;
});
