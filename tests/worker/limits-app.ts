/** Tasks that do not end, each in its own way, and innocent ones that run beside them. */
import { execSync } from 'node:child_process';
import { pbkdf2Sync } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import { createApp, taskContext } from 'lovage';

const { LOVAGE_TEST_BROKER: broker, LOVAGE_TEST_LEDGER: ledger } = process.env;

export const app = createApp({ name: 'limits', ...(broker ? { broker } : {}) });

const note = (line: string): void => {
  if (ledger) appendFileSync(ledger, `${line}\n`);
};
const HARD = { timeLimit: '1s' } as const;
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Runs for a while, yields all the time, and tells each start with its attempt. */
export const innocent = app.fn(
  'l.innocent',
  async (key: string): Promise<string> => {
    note(`innocent ${key} ${taskContext().attempt}`);
    await pause(1_500);
    note(`ended ${key}`);
    return key;
  },
  { timeLimit: '4s' },
);
export const quick = app.fn('l.quick', (x: number) => x);

export const polite = app.fn(
  'l.polite',
  async (): Promise<string> => {
    const { signal } = taskContext();
    return await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }));
  },
  { softTimeLimit: '300ms', timeLimit: '5s' },
);
export const never = app.fn('l.never', (): Promise<number> => new Promise(() => {}), HARD);
export const loop = app.fn(
  'l.loop',
  (): number => {
    for (;;);
  },
  HARD,
);
/** Keeps the loop only after it has yielded, so nobody saw it enter. */
export const lateLoop = app.fn(
  'l.lateLoop',
  async (): Promise<number> => {
    await pause(50);
    for (;;);
  },
  HARD,
);
export const regex = app.fn('l.regex', (): boolean => /^(a+)+$/.test(`${'a'.repeat(50)}b`), HARD);
export const atomics = app.fn(
  'l.atomics',
  (): string => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60_000),
  HARD,
);
/** Ends with its process, which is killed: a command that was left behind would outlive the test. */
const WHILE_PROCESS_LIVES = 'while kill -0 $PPID 2>/dev/null; do sleep 0.2; done';
export const shell = app.fn('l.shell', (): string => execSync(WHILE_PROCESS_LIVES).toString(), HARD);
export const hash = app.fn('l.hash', (): string => pbkdf2Sync('a', 'b', 60_000_000, 64, 'sha512').toString('hex'), HARD);
/** Keeps the loop for longer than a neighbour's limit, and has none itself. */
export const legal = app.fn('l.legal', (ms: number): number => {
  const end = performance.now() + ms;
  while (performance.now() < end);
  return ms;
});
/** Needs half a second of its own; is not to pay for what `legal` takes. */
export const tight = app.fn(
  'l.tight',
  async (key: string): Promise<string> => {
    note(`tight ${key} ${taskContext().attempt}`);
    await pause(500);
    return key;
  },
  { timeLimit: '1500ms' },
);
export const unlimited = app.fn('l.unlimited', (): Promise<number> => new Promise(() => {}));
