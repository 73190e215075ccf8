import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { silentLogger } from '../../core/logger.js';
import { createApp, taskContext } from '../../index.js';
import { encodeTaskMessage } from '../../wire/task-message.js';
import type { FromExecutor, RunRequest, ToExecutor } from '../port.js';
import { Executor } from './executor.js';

// Time passes where a handler says so, and nowhere else: a machine under load would make every task a slow one.
let nowMs = 0;
beforeEach(() => {
  vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
});
afterEach(() => {
  vi.restoreAllMocks();
});

interface Rig {
  /** Has these run, and resolves with the runs of each message of outcomes. */
  readonly run: (names: readonly string[]) => Promise<number[][]>;
  readonly seen: readonly number[];
  readonly say: (message: ToExecutor) => void;
}

/** An executor with an engine that only listens; a task that keeps the loop notes how many outcomes had been posted before it ran. */
async function open(): Promise<Rig> {
  const app = createApp({ broker: 'memory:executor-test', logger: silentLogger });
  const posted: number[][] = [];
  const seen: number[] = [];
  app.fn('quick', () => 1);
  app.fn('quick, by a promise', async () => {
    await null;
    return 1;
  });
  app.fn('waits', () => new Promise<void>((resolve) => taskContext().signal.addEventListener('abort', () => resolve())));
  app.fn('keeps', () => {
    seen.push(posted.flat().length);
    nowMs += 10;
  });
  let hear: (message: ToExecutor) => void = () => {};
  const post = (message: FromExecutor): void => {
    if (message.type === 'outcomes') posted.push(message.outcomes.map(({ run }) => run));
  };
  const onMessage = (listener: typeof hear): void => {
    hear = listener;
  };
  await new Executor(app, { post, onMessage, close: () => {} }, silentLogger).start();
  let runs = 0;
  const request = (name: string): RunRequest => {
    const message = encodeTaskMessage({ task: name, id: `${++runs}`, args: [], kwargs: {} }, { nowMs: 0 });
    return { run: runs, name, queue: 'q', redelivered: false, message, softTimeLimitMs: null, timeLimitMs: null };
  };
  const run = async (names: readonly string[]): Promise<number[][]> => {
    posted.length = 0;
    hear({ type: 'run', tasks: names.map(request) });
    for (let turn = 0; turn < 2; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    return [...posted];
  };
  return { run, seen, say: (message) => hear(message) };
}

test.each(['quick', 'quick, by a promise'])(
  'a task that keeps the loop does not keep the outcomes of its neighbours (%s), not even when it runs for the first time',
  async (quick) => {
    const { run, seen } = await open();
    expect(await run([quick, 'keeps'])).toEqual([[1], [2]]);
    expect(await run([quick, 'keeps', quick, 'keeps'])).toEqual([[3, 5], [4], [6]]);
    expect(seen).toEqual([1, 2, 3]);
  },
);

test('outcomes of tasks that give the loop back at once share a message', async () => {
  const { run } = await open();
  await run(['quick']);
  expect(await run(['quick', 'quick', 'quick'])).toEqual([[2, 3, 4]]);
});

test('a run that waits for a turn of its own is started before anything is said of it', async () => {
  const { run, say } = await open();
  const running = run(['waits']);
  say({ type: 'abort', runs: [1], reason: 'revoked' });
  expect(await running).toEqual([[1]]);
});
