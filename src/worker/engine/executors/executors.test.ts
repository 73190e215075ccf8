import { describe, expect, test } from 'vitest';
import type { EngineEnd, FromExecutor, ToExecutor } from '../../port.js';
import type { ActiveRun } from '../state.js';
import { Executors } from './executors.js';

interface World {
  readonly executors: Executors;
  /** What happened, in order. */
  readonly events: string[];
  /** Runs that each executor was sent. */
  readonly sent: Record<number, number[]>;
  attach(...numbers: number[]): void;
}

function world(options: { slotsEach: number; runsEach?: number }): World {
  const events: string[] = [];
  const sent: Record<number, number[]> = {};
  const executors: Executors = new Executors({
    count: 2,
    slotsEach: options.slotsEach,
    runsEach: options.runsEach ?? null,
    onMessage: (executor, message: FromExecutor) => void events.push(`${message.type} ${executor}`),
    onGiven: () => {},
    onSpent: (executor) => {
      events.push(`spent ${executor}`);
      executors.retire(executor);
    },
    onEmpty: (executor) => void events.push(`empty ${executor}`),
  });
  const end = (executor: number): EngineEnd => ({
    post: (message: ToExecutor) => {
      if (message.type === 'run') sent[executor] = [...(sent[executor] ?? []), ...message.tasks.map(({ run }) => run)];
    },
    onMessage: () => {},
    close: () => {},
  });
  return {
    executors,
    events,
    sent,
    attach(...numbers) {
      for (const number of numbers) executors.attach(number, end(number));
    },
  };
}

function run(number: number, alone = false): ActiveRun {
  const delivery = { queue: 'q', redelivered: false };
  return { run: number, delivery, message: {}, headers: { task: 't' }, alone, executor: -1 } as unknown as ActiveRun;
}
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('a run whose lease has lapsed', () => {
  test('is withdrawn while it waits for a slot, and cannot be once it was given away', async () => {
    const { executors, sent, attach } = world({ slotsEach: 1 });
    attach(0);
    const [first, second, third] = [run(1), run(2), run(3)];
    executors.open(0);
    for (const each of [first, second, third]) executors.dispatch(each);
    expect(executors.withdraw(first)).toBe(false);
    expect(executors.withdraw(second)).toBe(true);
    expect(executors.withdraw(second)).toBe(false);
    executors.release(0);
    await turn();
    expect(sent).toEqual({ 0: [1, 3] });
  });

  test('leaves the place of a run alone to the next', async () => {
    const { executors, sent, attach } = world({ slotsEach: 2 });
    attach(0);
    executors.open(0);
    executors.dispatch(run(1));
    expect(executors.alone.take()).toBe(true);
    const alone = run(2, true);
    executors.dispatch(alone);
    // the executor is being emptied for it
    executors.dispatch(run(3));
    await turn();
    expect(sent).toEqual({ 0: [1] });
    expect(executors.withdraw(alone)).toBe(true);
    await turn();
    expect(sent).toEqual({ 0: [1, 3] });
    expect(executors.alone.take()).toBe(true);
  });
});

describe('an executor that retires', () => {
  test('gets nothing new, keeps what it has, and is empty once that has ended', async () => {
    const { executors, events, sent, attach } = world({ slotsEach: 2 });
    attach(0, 1);
    executors.open(0);
    executors.dispatch(run(1));
    expect(executors.retire(0)).toBe(true);
    expect(executors.retire(0)).toBe(false);
    executors.dispatch(run(2));
    await turn();
    expect(sent).toEqual({ 0: [1] });
    executors.open(1);
    await turn();
    expect(sent).toEqual({ 0: [1], 1: [2] });
    expect(events).toEqual([]);
    executors.release(0);
    expect(events).toEqual(['empty 0']);
    executors.stopped(0);
    expect(executors.allStopped).toBe(false);
    executors.detach(0);
    executors.stopped(1);
    expect(executors.allStopped).toBe(true);
  });

  test('is empty at once when it has nothing', () => {
    const { executors, events, attach } = world({ slotsEach: 2 });
    attach(0);
    executors.retire(0);
    expect(events).toEqual(['empty 0']);
  });

  test('gives up the run alone that it was being emptied for: another one starts it', async () => {
    const { executors, sent, attach } = world({ slotsEach: 1 });
    attach(0);
    executors.open(0);
    executors.dispatch(run(1));
    expect(executors.alone.take()).toBe(true);
    executors.dispatch(run(2, true));
    executors.retire(0);
    attach(1);
    executors.open(1);
    await turn();
    expect(sent).toEqual({ 0: [1], 1: [2] });
  });
});

describe('an executor with a number of runs', () => {
  test('is spent with the last of them, and the next run waits for another', async () => {
    const { executors, events, sent, attach } = world({ slotsEach: 2, runsEach: 3 });
    attach(0);
    executors.open(0);
    for (const number of [1, 2, 3, 4]) executors.dispatch(run(number));
    expect(events).toEqual([]);
    executors.release(0);
    expect(events).toEqual(['spent 0']);
    expect(executors.waiting).toBe(1);
    executors.release(0);
    executors.release(0);
    expect(events).toEqual(['spent 0', 'empty 0']);
    attach(1);
    executors.open(1);
    await turn();
    expect(sent).toEqual({ 0: [1, 2, 3], 1: [4] });
  });
});

test('a run alone that found every slot taken starts when one executor is empty', async () => {
  const { executors, sent, attach } = world({ slotsEach: 1 });
  attach(0, 1);
  executors.open(0);
  executors.open(1);
  executors.dispatch(run(1));
  executors.dispatch(run(2));
  executors.alone.take();
  executors.dispatch(run(3, true));
  executors.release(1);
  await turn();
  expect(sent).toEqual({ 0: [1], 1: [2, 3] });
});

describe('before a run alone starts', () => {
  function asking() {
    const made = world({ slotsEach: 1 });
    const { executors, attach } = made;
    attach(0, 1);
    executors.open(0);
    executors.dispatch(run(1));
    let answer: (mayStart: boolean) => void = () => undefined;
    const asked: number[] = [];
    executors.alone.before = (alone) => {
      asked.push(alone.run);
      return new Promise((resolve) => (answer = resolve));
    };
    const alone = run(2, true);
    executors.alone.take();
    executors.dispatch(alone);
    return { ...made, alone, asked, answer: (mayStart: boolean) => answer(mayStart) };
  }

  test('it is asked about once, when its executor is empty, which is kept free until the answer', async () => {
    const { executors, sent, asked, answer } = asking();
    await turn();
    expect(asked).toEqual([]);
    executors.release(0);
    executors.dispatch(run(3));
    expect(asked).toEqual([2]);
    await turn();
    expect(sent).toEqual({ 0: [1] });
    answer(true);
    await turn();
    expect(sent).toEqual({ 0: [1, 2] });
    expect(asked).toEqual([2]);
  });

  test('its executor may be gone by the answer: another one starts it, and nothing is asked again', async () => {
    const { executors, sent, asked, answer } = asking();
    await turn();
    executors.release(0);
    executors.detach(0);
    answer(true);
    await turn();
    expect(sent).toEqual({ 0: [1] });
    executors.open(1);
    await turn();
    expect(sent).toEqual({ 0: [1], 1: [2] });
    expect(asked).toEqual([2]);
  });

  test('it may be withdrawn: the answer changes nothing, and the executor goes on with others', async () => {
    const { executors, sent, alone, answer } = asking();
    executors.release(0);
    executors.dispatch(run(3));
    expect(executors.withdraw(alone)).toBe(true);
    answer(true);
    await turn();
    expect(sent).toEqual({ 0: [1, 3] });
    expect(executors.alone.take()).toBe(true);
  });
});

test('a number that is gone is heard no more, and given nothing', async () => {
  const { executors, sent, attach } = world({ slotsEach: 1 });
  attach(0);
  executors.open(0);
  executors.detach(0);
  executors.open(0);
  executors.dispatch(run(1));
  await turn();
  expect(sent).toEqual({});
  expect(executors.waiting).toBe(1);
  expect([...executors.numbers()]).toEqual([]);
});

describe('a pool that changes', () => {
  test('gives more runs to an executor with more slots, and fewer as they end to one with fewer', async () => {
    const { executors, sent, attach } = world({ slotsEach: 1 });
    attach(0);
    executors.open(0);
    for (let number = 1; number <= 5; number++) executors.dispatch(run(number));
    executors.resize(1, 3);
    await turn();
    expect([sent[0], executors.waiting, executors.slots]).toEqual([[1, 2, 3], 2, 3]);
    executors.resize(1, 1);
    executors.release(0);
    executors.release(0);
    await turn();
    expect(sent[0]).toEqual([1, 2, 3]);
    executors.release(0);
    await turn();
    expect(sent[0]).toEqual([1, 2, 3, 4]);
  });

  test('names those that take runs, the least busy first, and no others', () => {
    const { executors, attach } = world({ slotsEach: 2 });
    attach(0, 1, 2);
    executors.open(0);
    executors.open(1);
    executors.dispatch(run(1));
    expect(executors.idlest()).toEqual([1, 0]);
    executors.retire(1);
    expect(executors.idlest()).toEqual([0]);
  });
});
