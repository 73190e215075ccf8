import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { silentLogger } from '../../core/logger.js';
import type { Engine } from '../engine/engine.js';
import { Crew, type Member } from './crew.js';

interface FakeMember extends Member {
  readonly executor: number;
  state: 'alive' | 'dismissed' | 'killed' | 'gone';
  die(): Promise<void>;
}

/** A crew of members that do nothing, and an engine that writes down what it is told. */
async function crewOf(
  count: number,
  spare: boolean,
  during: (crew: Crew, members: readonly FakeMember[]) => Promise<void> = async () => {},
): Promise<{ crew: Crew; members: FakeMember[]; told: string[] }> {
  const members: FakeMember[] = [];
  const told: string[] = [];
  const spawn = (executor: number): Member => {
    let gone!: (reason: string) => void;
    const member: FakeMember = {
      executor,
      state: 'alive',
      end: { post: () => {}, onMessage: () => {}, close: () => {} },
      gone: new Promise((resolve) => {
        gone = resolve;
      }),
      kill: () => {
        member.state = 'killed';
        gone('killed');
      },
      dismiss: () => {
        member.state = 'dismissed';
        gone('dismissed');
      },
      die: async () => {
        member.state = 'gone';
        gone('died');
        await member.gone;
        await Promise.resolve();
      },
    };
    members.push(member);
    return member;
  };
  const crew = new Crew({ count, spare, spawn, logger: silentLogger });
  const engine = {
    start: () => during(crew, members),
    stop: async () => ({ handedBack: 0, handBackFailed: false }),
    addExecutor: (executor: number) => told.push(`add ${executor}`),
    openExecutor: (executor: number) => told.push(`open ${executor}`),
    executorDied: (executor: number) => told.push(`died ${executor}`),
  };
  await crew.start(engine as unknown as Engine);
  return { crew, members, told };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());
const alive = (members: readonly FakeMember[]): number[] =>
  members.filter(({ state }) => state === 'alive').map(({ executor }) => executor);

describe('a crew', () => {
  test('goes on when one dies that was ready, although the start is not over: its first task may have ended it', async () => {
    const { members, told } = await crewOf(2, false, async (starting, [first]) => {
      starting.ready(0);
      await first?.die();
    });
    expect(told).toEqual(['died 0']);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(alive(members)).toEqual([1, 2]);
  });

  test('does not start when one dies that was never ready', async () => {
    const starting = crewOf(2, false, async (_, [first]) => {
      await first?.die();
      await new Promise(() => {});
    });
    await expect(starting).rejects.toMatchObject({ code: 'E_EXECUTOR_START' });
  });

  test('has as many as it is meant to have, and a spare that waits', async () => {
    const { crew, members, told } = await crewOf(2, true);
    expect(alive(members)).toEqual([0, 1, 2]);
    expect(told).toEqual(['add 2']);
    expect([crew.ready(0), crew.ready(1), crew.ready(2)]).toEqual([true, true, false]);
  });

  test('opens the spare at once when somebody dies, under a number that nobody had before', async () => {
    const { crew, members, told } = await crewOf(1, true);
    crew.ready(0);
    crew.ready(1);
    await members[0]?.die();
    expect(told).toEqual(['add 1', 'died 0', 'open 1']);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(alive(members)).toEqual([1, 2]);
    expect(crew.ready(2)).toBe(false);
  });

  test('lets a spare that has not started yet work as soon as it is ready', async () => {
    const { crew, told } = await crewOf(1, true);
    crew.ready(0);
    crew.retiring(0);
    expect(told).toEqual(['add 1', 'add 2']);
    expect([crew.ready(1), crew.ready(2)]).toEqual([true, false]);
  });

  test('never grows beyond twice its number and the spare, however slowly those end that retire', async () => {
    const { crew, members } = await crewOf(3, true);
    const working = (): number[] => alive(members).filter((executor) => crew.ready(executor));
    const retired: number[] = [];
    for (let round = 0; round < 50; round++) {
      const [executor] = working();
      if (executor === undefined) break;
      crew.retiring(executor);
      retired.push(executor);
      expect(alive(members).length).toBeLessThanOrEqual(2 * 3 + 1);
    }
    expect(retired).toHaveLength(6);
    // as they go, others come
    for (const executor of retired) {
      crew.dismiss(executor);
      await vi.advanceTimersByTimeAsync(0);
    }
    expect(working()).toHaveLength(3);
    expect(alive(members)).toHaveLength(4);
  });

  test('waits longer from death to death, and is quick again after a long life', async () => {
    const { crew, members } = await crewOf(1, false);
    const pauses: number[] = [];
    const next = async (): Promise<void> => {
      const before = members.length;
      await members.at(-1)?.die();
      const startMs = performance.now();
      while (members.length === before) await vi.advanceTimersByTimeAsync(5);
      pauses.push(performance.now() - startMs);
    };
    for (let death = 0; death < 8; death++) await next();
    expect(pauses[7]).toBeGreaterThan(2_000);
    expect(pauses[7]).toBeLessThanOrEqual(5_010);
    expect(pauses[0]).toBeLessThan(200);
    crew.ready(members.length - 1);
    await vi.advanceTimersByTimeAsync(60_000);
    await next();
    expect(pauses[8]).toBeLessThan(10);
  });

  test('grows when it is to be more, and replaces nobody who leaves because it is to be fewer', async () => {
    const { crew, members } = await crewOf(1, true);
    crew.ready(0);
    crew.ready(1);
    crew.resize(3);
    // the spare steps in, one more is started, and another spare
    expect(alive(members)).toEqual([0, 1, 2, 3]);
    expect([crew.ready(2), crew.ready(3)]).toEqual([true, false]);
    crew.resize(1);
    for (const executor of [1, 2]) crew.leaving(executor);
    expect(alive(members)).toEqual([0, 1, 2, 3]);
    for (const executor of [1, 2]) crew.dismiss(executor);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(alive(members)).toEqual([0, 3]);
  });

  test('that is to be fewer ends those that have not started yet, and takes that for no failure', async () => {
    const { crew, members } = await crewOf(1, false);
    crew.ready(0);
    crew.resize(3);
    expect(alive(members)).toEqual([0, 1, 2]);
    crew.resize(1);
    await vi.advanceTimersByTimeAsync(0);
    expect(alive(members)).toEqual([0]);
    // the next one comes at once
    crew.resize(2);
    expect(alive(members)).toEqual([0, 3]);
  });

  test('goes on replacing who dies while others leave', async () => {
    const { crew, members } = await crewOf(3, false);
    for (const executor of [0, 1, 2]) crew.ready(executor);
    crew.resize(1);
    for (const executor of [1, 2]) crew.leaving(executor);
    await members[0]?.die();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(alive(members)).toEqual([1, 2, 3]);
    expect(crew.ready(3)).toBe(true);
  });

  test('replaces nobody once it stops', async () => {
    const { crew, members } = await crewOf(2, true);
    crew.stopping();
    await members[0]?.die();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(members).toHaveLength(3);
    expect(await crew.close()).toBe(true);
    expect(alive(members)).toEqual([]);
  });
});
